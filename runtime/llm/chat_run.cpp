// The stack machine of the chat section (runtime/schema/chat.fbs). Opening has checked what every
// instruction refers to in the section; what depends on the run (slots, the stack, levels of
// frames) is checked here, so that no program, however it came about, reaches beyond the machine.

#include "llm/chat_value.h"

#include <string.h>

namespace kiln {
namespace chat {
namespace {

using namespace schema;

[[noreturn]] void raise_program(machine_t *m, const char *what) {
  raise(m, KILN_CORRUPT, "chat section, line %u: %s", m->line, what);
}

void push(machine_t *m, const value_t &value) {
  if (m->stack_count == max_stack)
    raise(m, KILN_CHAT_LIMIT, "chat template, line %u: an expression of more than %u values",
          m->line, max_stack);
  m->stack[m->stack_count++] = value;
}

/* A call of a function. */
struct run_t {
  machine_t *m;
  const kiln_chat &program;
  frame_t *frame;
  uint32_t base; /* what lies below on the stack belongs to the caller */
  uint32_t pc;
  uint64_t captures; /* the output's size when it was called: captures lie above */

  value_t text(uint32_t index) const {
    uint32_t begin = program.text_offsets[index];
    return make_text(program.text_bytes + begin, program.text_offsets[index + 1] - begin);
  }
  value_t *top(uint32_t count) {
    if (m->stack_count - base < count)
      raise_program(m, "the stack is empty");
    return m->stack + m->stack_count - count;
  }
  value_t pop() {
    value_t value = *top(1);
    --m->stack_count;
    return value;
  }
  value_t *slot(uint32_t levels, uint32_t index) {
    frame_t *at = frame;
    for (; levels > 0 && at; --levels)
      at = at->outer;
    if (!at || index >= at->slot_count)
      raise_program(m, "there is no such variable");
    return &at->slots[index];
  }
  loop_t *loop() {
    value_t *value = top(1);
    if (value->type != type_loop)
      raise_program(m, "there is no loop");
    return value->loop;
  }

  void resolve(uint32_t name);
  void binary(uint8_t op);
  void call(uint32_t count, uint32_t keyword_count);
  void set_attribute(uint32_t name);
  void unpack(uint32_t count);
  void build_dict(uint32_t count);
  bool next_item();
  bool execute(uint32_t op, int32_t argument);
  void run();
};

value_t call_macro(machine_t *m, const macro_t &macro, const arguments_t &arguments);

void run_t::resolve(uint32_t name) {
  value_t key = text(name);
  uint8_t id = program.names[name];
  if (const value_t *found = find_entry(m, m->variables, key)) {
    push(m, *found);
  } else if (id >= ChatName_n_dict && id <= ChatName_n_strftime_now) {
    value_t function = make(type_function);
    function.extra = id;
    push(m, function);
  } else {
    push(m, make_undefined(undefined_variable, key));
  }
}

void run_t::binary(uint8_t op) {
  value_t b = pop(), a = pop();
  if (op <= ChatOp_power)
    return push(m, operate(m, op, a, b));
  bool result;
  switch (op) {
  case ChatOp_equal:
  case ChatOp_not_equal:
    result = equal(m, a, b) == (op == ChatOp_equal);
    break;
  case ChatOp_contained:
  case ChatOp_not_contained:
    result = contains(m, b, a) == (op == ChatOp_contained);
    break;
  default:
    result = apply_test(m, (uint8_t)(op - ChatOp_less + ChatTest_t_less), a, &b, 1);
  }
  push(m, make_boolean(result));
}

void run_t::call(uint32_t count, uint32_t keyword_count) {
  value_t *values = top(1 + count + 2 * keyword_count);
  value_t callee = values[0];
  arguments_t arguments = {values + 1, count, values + 1 + count, keyword_count};
  for (uint32_t i = 0; i < keyword_count; ++i)
    if (arguments.keywords[2 * i].type != type_text)
      raise_program(m, "a keyword is no text");
  value_t result;
  switch (callee.type) {
  case type_macro:
    result = call_macro(m, *callee.macro, arguments);
    break;
  case type_function:
    result = call_function(m, (uint8_t)callee.extra, arguments);
    break;
  case type_method:
    result = call_method(m, *callee.self, (uint8_t)callee.extra, arguments);
    break;
  case type_undefined:
    raise_undefined(m, callee);
  default:
    raise_here(m, "'%s' object is not callable", type_name(callee));
  }
  m->stack_count = (uint32_t)(values - m->stack);
  push(m, result);
}

void run_t::set_attribute(uint32_t name) {
  value_t value = pop(), target = pop(), key = text(name);
  if (target.type != type_namespace)
    raise_here(m, "cannot assign attribute on non-namespace object");
  if (key.count && *key.text == '_')
    raise_here(m, "a namespace stores no names that begin with an underscore");
  namespace_t *space = target.space;
  value_t entries = make(type_dict);
  entries.entries = space->entries;
  entries.count = space->count;
  if (const value_t *found = find_entry(m, entries, key)) {
    *const_cast<value_t *>(found) = value;
    return;
  }
  if (space->count == space->capacity) {
    uint32_t capacity = space->capacity < 4 ? 8 : 2 * space->capacity;
    entry_t *grown = allocate_entries(m, capacity);
    for (uint32_t i = 0; i < space->count; ++i)
      grown[i] = space->entries[i];
    space->entries = grown;
    space->capacity = capacity;
  }
  space->entries[space->count++] = {key, value};
}

void run_t::unpack(uint32_t count) {
  value_t value = pop();
  table_t<value_t> items = iterate(m, value);
  if (items.size < count)
    raise_here(m, "not enough values to unpack (expected %u, got %u)", count, items.size);
  if (items.size > count)
    raise_here(m, "too many values to unpack (expected %u)", count);
  for (uint32_t i = count; i-- > 0;)
    push(m, items[i]);
}

void run_t::build_dict(uint32_t count) {
  value_t *values = top(2 * count);
  entry_t *entries = allocate_entries(m, count);
  value_t dict = make(type_dict);
  dict.entries = entries;
  for (uint32_t i = 0; i < count; ++i) {
    const value_t &key = values[2 * i];
    if (key.type == type_list || key.type == type_dict)
      raise_here(m, "unhashable type: '%s'", type_name(key));
    if (const value_t *found = find_entry(m, dict, key))
      *const_cast<value_t *>(found) = values[2 * i + 1];
    else
      entries[dict.count++] = {key, values[2 * i + 1]};
  }
  m->stack_count -= 2 * count;
  push(m, dict);
}

bool run_t::next_item() {
  loop_t *current = loop();
  if (current->next >= current->count)
    return false;
  push(m, current->items[current->next++]);
  return true;
}

/* Runs one instruction; false: the function is finished. */
bool run_t::execute(uint32_t op, int32_t argument) {
  uint32_t index = (uint32_t)argument;
  switch (op) {
  case ChatOp_push_none:
    push(m, make(type_none));
    break;
  case ChatOp_push_true:
  case ChatOp_push_false:
    push(m, make_boolean(op == ChatOp_push_true));
    break;
  case ChatOp_push_absent:
    push(m, make(type_absent));
    break;
  case ChatOp_push_small:
    push(m, make_integer(argument));
    break;
  case ChatOp_push_integer:
    push(m, make_integer(program.integers[index]));
    break;
  case ChatOp_push_real:
    push(m, make_real(program.reals[index]));
    break;
  case ChatOp_push_text:
    push(m, text(index));
    break;
  case ChatOp_push_undefined:
    push(m, make_undefined(undefined_variable, text(index)));
    break;
  case ChatOp_resolve:
    resolve(index);
    break;
  case ChatOp_load:
    push(m, *slot(0, index));
    break;
  case ChatOp_load_outer:
    push(m, *slot(index >> 16, index & 0xFFFF));
    break;
  case ChatOp_store:
    *slot(0, index) = pop();
    break;
  case ChatOp_pop:
    pop();
    break;
  case ChatOp_copy:
    push(m, *top(1));
    break;
  case ChatOp_write_text: {
    value_t constant = text(index);
    put(m, constant.text, constant.count);
    break;
  }
  case ChatOp_write:
    put_text(m, pop());
    break;
  case ChatOp_begin_capture:
    push(m, make_integer((int64_t)m->output_bytes));
    break;
  case ChatOp_end_capture: {
    value_t mark = pop();
    if (mark.type != type_integer || mark.integer < (int64_t)captures ||
        mark.integer > (int64_t)m->output_bytes)
      raise_program(m, "there is no capture");
    push(m, take(m, (uint64_t)mark.integer));
    break;
  }
  case ChatOp_negate:
    push(m, negate(m, pop()));
    break;
  case ChatOp_plus: {
    value_t value = pop();
    push(m, value.type == type_real ? value : negate(m, negate(m, value)));
    break;
  }
  case ChatOp_logical_not:
    push(m, make_boolean(!truth(pop())));
    break;
  case ChatOp_concatenate: {
    value_t *parts = top(index);
    value_t result = make_text("", 0);
    for (uint32_t i = 0; i < index; ++i) {
      value_t part = to_text(m, parts[i]);
      result = i ? concatenate(m, result, part) : part;
    }
    result.safe = false;
    m->stack_count -= index;
    push(m, result);
    break;
  }
  case ChatOp_attribute:
    push(m, get_attribute(m, pop(), text(index), program.names[index]));
    break;
  case ChatOp_item_named:
    push(m, get_item(m, pop(), text(index), program.names[index]));
    break;
  case ChatOp_item: {
    value_t key = pop(), value = pop();
    push(m, get_item(m, value, key, 0));
    break;
  }
  case ChatOp_slice: {
    value_t step = pop(), stop = pop(), start = pop(), value = pop();
    push(m, get_slice(m, value, start, stop, step));
    break;
  }
  case ChatOp_build_list:
  case ChatOp_build_tuple: {
    value_t *items = allocate_values(m, index), *from = top(index);
    for (uint32_t i = 0; i < index; ++i)
      items[i] = from[i];
    m->stack_count -= index;
    push(m, make_sequence(op == ChatOp_build_list ? type_list : type_tuple, items, index));
    break;
  }
  case ChatOp_build_dict:
    build_dict(index);
    break;
  case ChatOp_call:
    call(index & 0xFF, index >> 8 & 0xFF);
    break;
  case ChatOp_filter:
  case ChatOp_test: {
    uint32_t count = index >> 8 & 0xFF;
    value_t *values = top(1 + count);
    value_t result =
        op == ChatOp_filter
            ? apply_filter(m, (uint8_t)index, values[0], values + 1, count)
            : make_boolean(apply_test(m, (uint8_t)index, values[0], values + 1, count));
    m->stack_count -= 1 + count;
    push(m, result);
    break;
  }
  case ChatOp_set_attribute:
    set_attribute(index);
    break;
  case ChatOp_unpack:
    unpack(index);
    break;
  case ChatOp_make_macro: {
    macro_t *macro = static_cast<macro_t *>(allocate(m, sizeof(macro_t)));
    *macro = {index, frame};
    value_t value = make(type_macro);
    value.macro = macro;
    push(m, value);
    break;
  }
  case ChatOp_jump:
    pc = index;
    break;
  case ChatOp_jump_if_present:
    if (pop().type != type_absent)
      pc = index;
    break;
  case ChatOp_jump_if_false:
  case ChatOp_jump_if_true:
    if (truth(pop()) == (op == ChatOp_jump_if_true))
      pc = index;
    break;
  case ChatOp_jump_if_false_keep:
  case ChatOp_jump_if_true_keep:
    if (truth(*top(1)) == (op == ChatOp_jump_if_true_keep))
      pc = index;
    else
      pop();
    break;
  case ChatOp_begin_loop: {
    table_t<value_t> items = iterate(m, pop());
    loop_t *loop = static_cast<loop_t *>(allocate(m, sizeof(loop_t)));
    *loop = {};
    loop->items = items.data;
    loop->count = items.size;
    value_t value = make(type_loop);
    value.loop = loop;
    push(m, value);
    break;
  }
  case ChatOp_next_item:
    if (!next_item())
      pc = index;
    break;
  case ChatOp_keep_item: {
    bool keep = truth(pop());
    loop_t *current = loop();
    if (!current->kept)
      current->kept = allocate_values(m, current->count);
    if (keep && current->next > 0 && current->kept_count < current->count)
      current->kept[current->kept_count++] = current->items[current->next - 1];
    break;
  }
  case ChatOp_restart_loop: {
    loop_t *current = loop();
    current->items = current->kept;
    current->count = current->kept_count;
    current->kept = nullptr;
    current->kept_count = current->next = 0;
    break;
  }
  case ChatOp_jump_if_iterated:
    if (loop()->next > 0)
      pc = index;
    break;
  case ChatOp_finish:
    return false;
  case ChatOp_fail_with: {
    value_t message = text(index);
    raise_here(m, "%.*s", (int)(message.count < 200 ? message.count : 200), message.text);
  }
  default:
    binary((uint8_t)op);
  }
  return true;
}

void run_t::run() {
  while (true) {
    if (pc >= program.code.size)
      raise_program(m, "the program has no end");
    m->line = program.lines[pc];
    work(m, 0);
    int32_t instruction = (int32_t)program.code[pc++];
    if (!execute((uint32_t)instruction & 0xFF, instruction >> 8))
      return;
  }
}

void run_function(machine_t *m, uint32_t function, frame_t *frame) {
  deeper_t deeper(m, max_depth);
  run_t run = {m,
               *m->program,
               frame,
               m->stack_count,
               m->program->functions[function].first(),
               m->output_bytes};
  run.run();
  m->stack_count = run.base;
  deeper.leave();
}

frame_t *make_frame(machine_t *m, uint32_t function, frame_t *outer) {
  uint32_t slots = m->program->functions[function].slot_count();
  frame_t *frame = static_cast<frame_t *>(allocate(m, sizeof(frame_t)));
  *frame = {outer, function, slots, allocate_values(m, slots)};
  for (uint32_t i = 0; i < slots; ++i)
    frame->slots[i] = make(type_absent);
  return frame;
}

value_t call_macro(machine_t *m, const macro_t &macro, const arguments_t &arguments) {
  const kiln_chat &program = *m->program;
  const ChatFunction &function = program.functions[macro.function];
  auto name_of = [&](uint32_t text) {
    uint32_t begin = program.text_offsets[text];
    return make_text(program.text_bytes + begin, program.text_offsets[text + 1] - begin);
  };
  value_t name = name_of(function.name());
  frame_t *frame = make_frame(m, macro.function, macro.frame);
  if (arguments.count > function.parameter_count())
    raise_here(m, "macro '%.*s' takes not more than %u argument(s)",
               (int)(name.count < 100 ? name.count : 100), name.text, function.parameter_count());
  for (uint32_t i = 0; i < arguments.count; ++i)
    frame->slots[i] = arguments.values[i];
  bool called = false;
  for (uint32_t i = 0; i < arguments.keyword_count; ++i) {
    const value_t &keyword = arguments.keywords[2 * i];
    bool found = false;
    for (uint32_t p = arguments.count; p < function.parameter_count() && !found; ++p)
      if (same_text(keyword, name_of(program.parameters[function.first_parameter() + p]))) {
        frame->slots[p] = arguments.keywords[2 * i + 1];
        found = true;
      }
    if (!found && function.caller_slot() >= 0 && same_text(keyword, make_text("caller", 6))) {
      frame->slots[function.caller_slot()] = arguments.keywords[2 * i + 1];
      found = called = true;
    }
    if (!found)
      raise_here(m, "macro '%.*s' takes no keyword argument '%.*s'",
                 (int)(name.count < 80 ? name.count : 80), name.text,
                 (int)(keyword.count < 80 ? keyword.count : 80), keyword.text);
  }
  if (function.caller_slot() >= 0 && !called)
    frame->slots[function.caller_slot()] =
        make_undefined(undefined_hint, make_text("No caller defined", 17));
  uint64_t mark = m->output_bytes;
  uint32_t line = m->line;
  run_function(m, macro.function, frame);
  m->line = line;
  return take(m, mark);
}

} // namespace

void run_template(machine_t *m) {
  m->stack = allocate_values(m, max_stack);
  run_function(m, 0, make_frame(m, 0, nullptr));
}

} // namespace chat
} // namespace kiln
