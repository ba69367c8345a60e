// Expressions of the dims are postfix programs (runtime/schema/README.md). They are checked once at
// open, so that evaluation need not look at the stack, and evaluated at every call with checked
// arithmetic, because no value of the dims may move a buffer out of its space. Equal expressions of
// a function are stored once.

#include "core/expr.h"

#include "program_generated.h"

#include <assert.h>
#include <string.h>

namespace kiln {

static expr_op_t op_at(const schema::Expr &expr, uint32_t i) {
  expr_op_t op = {};
  op.op = expr.code()->Data()[i];
  // The verifier does not promise that a vector of longs is aligned.
  memcpy(&op.arg, expr.args()->Data() + i * sizeof(int64_t), sizeof(int64_t));
  return op;
}

const char *expr_check(const schema::Expr &expr, uint32_t dim_count) {
  uint32_t length = expr.code()->size();
  if (length == 0)
    return "an expression is empty";
  if (length > max_expr_length)
    return "an expression is longer than 256 operations";
  if (expr.args()->size() != length)
    return "an expression's code and args differ in length";
  uint32_t depth = 0;
  for (uint32_t i = 0; i < length; ++i) {
    expr_op_t op = op_at(expr, i);
    switch (op.op) {
    case (uint32_t)schema::ExprOp_dim:
      if (op.arg < 0 || op.arg >= dim_count)
        return "an expression names a dim that does not exist";
      [[fallthrough]];
    case (uint32_t)schema::ExprOp_constant:
      if (++depth > max_expr_depth)
        return "an expression is deeper than 16";
      break;
    case (uint32_t)schema::ExprOp_add:
    case (uint32_t)schema::ExprOp_mul:
    case (uint32_t)schema::ExprOp_ceil_div:
    case (uint32_t)schema::ExprOp_floor_div:
    case (uint32_t)schema::ExprOp_max:
    case (uint32_t)schema::ExprOp_min:
      if (depth < 2)
        return "an expression takes from an empty stack";
      --depth;
      break;
    default:
      return "an expression holds an unknown operation";
    }
  }
  return depth == 1 ? nullptr : "an expression leaves more than one value";
}

static uint32_t hash_ops(const expr_op_t *ops, uint32_t length) {
  uint64_t hash = length;
  for (uint32_t i = 0; i < length; ++i) {
    hash = (hash ^ (uint64_t)ops[i].arg ^ ((uint64_t)ops[i].op << 56)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return (uint32_t)(hash >> 16);
}

static bool equal_ops(const expr_op_t *a, const expr_op_t *b, uint32_t length) {
  for (uint32_t i = 0; i < length; ++i)
    if (a[i].arg != b[i].arg || a[i].op != b[i].op)
      return false;
  return true;
}

static uint32_t *find_slot(expr_table_t *table, const expr_op_t *ops, uint32_t length) {
  uint32_t mask = table->slot_count - 1;
  for (uint32_t i = hash_ops(ops, length) & mask;; i = (i + 1) & mask) {
    uint32_t id = table->slots[i];
    if (id == no_expr)
      return &table->slots[i];
    const expr_t &expr = table->exprs[id];
    if (expr.length == length && equal_ops(table->ops.data + expr.first, ops, length))
      return &table->slots[i];
  }
}

static bool grow_slots(expr_table_t *table) {
  uint32_t count = table->slot_count ? table->slot_count * 2 : 64;
  uint32_t *slots = static_cast<uint32_t *>(malloc(count * sizeof(uint32_t)));
  if (!slots)
    return false;
  memset(slots, 0xff, count * sizeof(uint32_t)); // no_expr
  free(table->slots);
  table->slots = slots;
  table->slot_count = count;
  for (uint32_t id = 0; id < table->exprs.count; ++id) {
    const expr_t &expr = table->exprs[id];
    *find_slot(table, table->ops.data + expr.first, expr.length) = id;
  }
  return true;
}

bool expr_table_add(expr_table_t *table, const schema::Expr &expr, uint32_t *id) {
  expr_op_t ops[max_expr_length];
  uint32_t length = expr.code()->size();
  assert(length <= max_expr_length);
  for (uint32_t i = 0; i < length; ++i)
    ops[i] = op_at(expr, i);
  if (table->slot_count / 2 <= table->exprs.count && !grow_slots(table))
    return false;
  uint32_t *slot = find_slot(table, ops, length);
  if (*slot == no_expr) {
    expr_t added = {table->ops.count, length};
    for (uint32_t i = 0; i < length; ++i)
      if (!table->ops.push(ops[i]))
        return false;
    if (!table->exprs.push(added))
      return false;
    *slot = table->exprs.count - 1;
  }
  *id = *slot;
  return true;
}

void expr_table_seal(expr_table_t *table) {
  free(table->slots);
  table->slots = nullptr;
  table->slot_count = 0;
}

void expr_table_release(expr_table_t *table) {
  expr_table_seal(table);
  table->ops.release();
  table->exprs.release();
}

/* a / b rounded down, and whether there is a remainder; b is positive, so nothing overflows. */
static int64_t floor_quotient(int64_t a, int64_t b, bool *inexact) {
  int64_t quotient = a / b, remainder = a % b;
  *inexact = remainder != 0;
  return remainder < 0 ? quotient - 1 : quotient;
}

/* *result = a op b. */
static inline const char *apply(uint32_t op, int64_t a, int64_t b, int64_t *result) {
  bool inexact;
  switch (op) {
  case (uint32_t)schema::ExprOp_add:
    return checked_add(a, b, result) ? nullptr : "an expression overflows";
  case (uint32_t)schema::ExprOp_mul:
    return checked_mul(a, b, result) ? nullptr : "an expression overflows";
  case (uint32_t)schema::ExprOp_ceil_div:
  case (uint32_t)schema::ExprOp_floor_div:
    if (b <= 0)
      return "an expression divides by zero or less";
    *result = floor_quotient(a, b, &inexact);
    if (op == (uint32_t)schema::ExprOp_ceil_div)
      *result += inexact; // an inexact quotient has |b| > 1: no overflow
    return nullptr;
  case (uint32_t)schema::ExprOp_max:
    *result = a > b ? a : b;
    return nullptr;
  default:
    *result = a < b ? a : b;
    return nullptr;
  }
}

const char *expr_evaluate(const expr_table_t &table, uint32_t id, const int64_t *dims,
                          int64_t *value) {
  const expr_t &expr = table.exprs[id];
  const expr_op_t *ops = table.ops.data + expr.first;
  int64_t stack[max_expr_depth];
  uint32_t depth = 0;
  for (uint32_t i = 0; i < expr.length; ++i) {
    if (ops[i].op <= (uint32_t)schema::ExprOp_dim) {
      assert(depth < max_expr_depth);
      stack[depth++] = ops[i].op == (uint32_t)schema::ExprOp_dim ? dims[ops[i].arg] : ops[i].arg;
      continue;
    }
    assert(depth >= 2);
    int64_t b = stack[--depth];
    if (const char *what = apply(ops[i].op, stack[depth - 1], b, &stack[depth - 1]))
      return what;
  }
  assert(depth == 1);
  if (stack[0] < 0)
    return "an expression is negative";
  *value = stack[0];
  return nullptr;
}

const char *expr_range(const expr_table_t &table, uint32_t id, const range_t *dims,
                       range_t *value) {
  const expr_t &expr = table.exprs[id];
  range_t stack[max_expr_depth];
  uint32_t depth = 0;
  for (uint32_t i = 0; i < expr.length; ++i) {
    const expr_op_t &op = table.ops.data[expr.first + i];
    if (op.op <= (uint32_t)schema::ExprOp_dim) {
      stack[depth++] =
          op.op == (uint32_t)schema::ExprOp_dim ? dims[op.arg] : range_t{op.arg, op.arg};
      continue;
    }
    // Each operation is monotonic in either operand while the other stays, so that its extremes lie
    // in the corners.
    range_t b = stack[--depth], a = stack[depth - 1], result = {INT64_MAX, INT64_MIN};
    for (uint32_t corner = 0; corner < 4; ++corner) {
      int64_t at;
      if (const char *what =
              apply(op.op, corner & 1 ? a.high : a.low, corner & 2 ? b.high : b.low, &at))
        return what;
      result.low = at < result.low ? at : result.low;
      result.high = at > result.high ? at : result.high;
    }
    stack[depth - 1] = result;
  }
  *value = stack[0];
  return nullptr;
}

bool expr_names_only(const expr_table_t &table, uint32_t id, const uint8_t *marks) {
  const expr_t &expr = table.exprs[id];
  for (uint32_t i = 0; i < expr.length; ++i) {
    const expr_op_t &op = table.ops.data[expr.first + i];
    if (op.op == (uint32_t)schema::ExprOp_dim && !marks[op.arg])
      return false;
  }
  return true;
}

} // namespace kiln
