// Byte-pair encoding (Sennrich et al., 2016) in O(n log n): symbols in a doubly linked list,
// candidate merges in a heap by rank and position. Order and tie-breaking are those of the Hugging
// Face tokenizers library, whose vocabularies these are: an entry of the heap whose symbols have
// changed is still good if the pair now at its place merges into the same token.

#include "llm/byte_pairs.h"

#include "llm/utf8.h"

namespace kiln {
namespace {

struct encoder_t {
  const kiln_tokenizer &tokenizer;
  byte_pairs_t &state;

  bool add_symbol(uint32_t id) {
    uint32_t index = state.symbols.count;
    return state.symbols.push({id, (int32_t)index - 1, (int32_t)index + 1});
  }

  bool cut_into_units(const uint8_t *text, uint32_t size);
  void push_candidate(uint32_t position);
  candidate_t pop_candidate();
  void merge_all();
};

bool encoder_t::cut_into_units(const uint8_t *text, uint32_t size) {
  bool unknown = false; // an unk is to be written before the next unit that is known
  uint32_t length;
  for (uint32_t at = 0; at < size; at += length) {
    uint32_t code_point;
    length = tokenizer.byte_level ? 1 : utf8_read(text + at, size - at, &code_point);
    uint32_t id = vocabulary_find(tokenizer, text + at, length);
    if (id != no_id) {
      if (unknown && !add_symbol((uint32_t)tokenizer.unk))
        return false;
      unknown = false;
      if (!add_symbol(id))
        return false;
      continue;
    }
    if (tokenizer.byte_fallback) {
      bool all = true;
      for (uint32_t i = 0; i < length; ++i)
        all &= tokenizer.byte_tokens[text[at + i]] >= 0;
      for (uint32_t i = 0; i < length && all; ++i)
        if (!add_symbol((uint32_t)tokenizer.byte_tokens[text[at + i]]))
          return false;
      if (all)
        continue;
    }
    if (tokenizer.unk < 0)
      continue;
    if (unknown && !tokenizer.fuse_unk && !add_symbol((uint32_t)tokenizer.unk))
      return false;
    unknown = true;
  }
  return !unknown || add_symbol((uint32_t)tokenizer.unk);
}

/* Adds the merge of the symbol at `position` and the next one, if there is one. The heap has room.
 */
void encoder_t::push_candidate(uint32_t position) {
  const symbol_t &left = state.symbols[position];
  const merge_t *merge = merge_find(tokenizer, left.id, state.symbols[(uint32_t)left.next].id);
  if (!merge)
    return;
  candidate_t added = {(uint64_t)merge->rank << 32 | position, merge->merged};
  array_t<candidate_t> &heap = state.heap;
  uint32_t hole = heap.count++;
  while (hole > 0 && heap.data[(hole - 1) / 2].order > added.order) {
    heap.data[hole] = heap.data[(hole - 1) / 2];
    hole = (hole - 1) / 2;
  }
  heap.data[hole] = added;
}

candidate_t encoder_t::pop_candidate() {
  array_t<candidate_t> &heap = state.heap;
  candidate_t top = heap.data[0], last = heap.data[--heap.count];
  uint32_t hole = 0;
  while (true) {
    uint32_t child = 2 * hole + 1;
    if (child >= heap.count)
      break;
    if (child + 1 < heap.count && heap.data[child + 1].order < heap.data[child].order)
      ++child;
    if (heap.data[child].order >= last.order)
      break;
    heap.data[hole] = heap.data[child];
    hole = child;
  }
  heap.data[hole] = last;
  return top;
}

void encoder_t::merge_all() {
  symbol_t *symbols = state.symbols.data;
  uint32_t count = state.symbols.count;
  for (uint32_t i = 0; i + 1 < count; ++i)
    push_candidate(i);
  while (state.heap.count > 0) {
    candidate_t top = pop_candidate();
    uint32_t position = (uint32_t)top.order;
    symbol_t &left = symbols[position];
    if (left.id == no_id || (uint32_t)left.next >= count)
      continue;
    symbol_t &right = symbols[left.next];
    const merge_t *merge = merge_find(tokenizer, left.id, right.id);
    if (!merge || merge->merged != top.merged)
      continue;
    left.id = top.merged;
    left.next = right.next;
    right.id = no_id;
    if ((uint32_t)left.next < count) {
      symbols[left.next].previous = (int32_t)position;
      push_candidate(position);
    }
    if (left.previous >= 0)
      push_candidate((uint32_t)left.previous);
  }
}

} // namespace

bool encode_piece(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                  byte_pairs_t *state) {
  encoder_t encoder = {tokenizer, *state};
  state->symbols.count = 0;
  state->heap.count = 0;
  if (tokenizer.ignore_merges) {
    uint32_t id = vocabulary_find(tokenizer, text, size);
    if (id != no_id)
      return encoder.add_symbol(id);
  }
  if (!encoder.cut_into_units(text, size))
    return false;
  // At most one candidate per pair at first, and two more for each merge, of which there are fewer
  // than symbols.
  uint32_t room;
  if (!checked_mul<uint32_t>(state->symbols.count, 3, &room) || !state->heap.reserve(room))
    return false;
  encoder.merge_all();
  return true;
}

} // namespace kiln
