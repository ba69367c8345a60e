// Byte-pair encoding (Sennrich et al., 2016): symbols in a doubly linked list, candidate merges in
// a heap by priority and position, O(n log n). Order and tie-breaking are those of the Hugging Face
// tokenizers library: an entry of the heap whose symbols have changed is still good if the pair now
// at its place merges into the same token. A short piece needs no heap: where a token has one rank,
// that rule changes nothing, and looking at all pairs for the best one is faster.

#include "llm/piece_model.h"
#include "llm/utf8.h"

#include <string.h>

namespace kiln {
namespace {

constexpr uint32_t most_without_heap = 40;

struct encoder_t {
  const kiln_tokenizer &tokenizer;
  byte_pairs_t &state;

  uint32_t priority(uint32_t rank) const {
    return tokenizer.priorities ? tokenizer.priorities[rank] : rank;
  }
  void push_candidate(uint32_t position);
  candidate_t pop_candidate();
  void merge_all();
  bool run(ids_t *ids, uint32_t first);
};

/* Appends the ids of the piece's units. */
bool cut_into_units(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                    ids_t *ids) {
  bool unknown = false; // an unk is to be written before the next unit that is known
  uint32_t length;
  for (uint32_t at = 0; at < size; at += length) {
    uint32_t code_point;
    length = tokenizer.byte_level ? 1 : utf8_read(text + at, size - at, &code_point);
    uint32_t id = length == 1 ? tokenizer.byte_units[text[at]]
                              : vocabulary_find(tokenizer, text + at, length);
    if (id != no_id) {
      if (unknown && !ids->push((uint32_t)tokenizer.unk))
        return false;
      unknown = false;
      if (!ids->push(id))
        return false;
      continue;
    }
    bool all;
    if (!put_byte_tokens(tokenizer, text + at, length, ids, &all))
      return false;
    if (all || tokenizer.unk < 0)
      continue;
    if (unknown && !tokenizer.fuse_unk && !ids->push((uint32_t)tokenizer.unk))
      return false;
    unknown = true;
  }
  return !unknown || ids->push((uint32_t)tokenizer.unk);
}

/* Merges ids[first ..] in place. */
void merge_few(const encoder_t &encoder, ids_t *ids, uint32_t first) {
  const kiln_tokenizer &tokenizer = encoder.tokenizer;
  uint32_t *symbols = ids->data + first, count = ids->count - first;
  uint32_t ranks[most_without_heap]; // of the pair (i, i + 1)
  for (uint32_t i = 0; i + 1 < count; ++i)
    ranks[i] = merge_find(tokenizer, symbols[i], symbols[i + 1]);
  while (count > 1) {
    uint32_t best = 0, best_priority = no_id;
    for (uint32_t i = 0; i + 1 < count; ++i) {
      if (ranks[i] == no_id)
        continue;
      uint32_t priority = encoder.priority(ranks[i]);
      if (priority < best_priority) {
        best = i;
        best_priority = priority;
      }
    }
    if (best_priority == no_id)
      break;
    symbols[best] = tokenizer.merged[ranks[best]];
    --count;
    for (uint32_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i - 1] = ranks[i];
    }
    if (best + 1 < count)
      ranks[best] = merge_find(tokenizer, symbols[best], symbols[best + 1]);
    if (best > 0)
      ranks[best - 1] = merge_find(tokenizer, symbols[best - 1], symbols[best]);
  }
  ids->count = first + count;
}

/* Adds the merge of the symbol at `position` and the next one, if there is one. The heap has room.
 */
void encoder_t::push_candidate(uint32_t position) {
  const symbol_t &left = state.symbols[position];
  uint32_t rank = merge_find(tokenizer, left.id, state.symbols[(uint32_t)left.next].id);
  if (rank == no_id)
    return;
  candidate_t added = {(uint64_t)priority(rank) << 32 | position, tokenizer.merged[rank]};
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
    uint32_t rank = merge_find(tokenizer, left.id, right.id);
    if (rank == no_id || tokenizer.merged[rank] != top.merged)
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

/* Merges ids[first ..] in place, by way of the heap. */
bool encoder_t::run(ids_t *ids, uint32_t first) {
  uint32_t count = ids->count - first, room;
  // At most one candidate per pair at first, and two more for each merge, of which there are fewer
  // than symbols.
  if (!checked_mul<uint32_t>(count, 3, &room) || count > INT32_MAX - 1 ||
      !state.symbols.reserve(count) || !state.heap.reserve(room))
    return false;
  state.heap.count = 0;
  state.symbols.count = count;
  for (uint32_t i = 0; i < count; ++i)
    state.symbols.data[i] = {ids->data[first + i], (int32_t)i - 1, (int32_t)i + 1};
  merge_all();
  ids->count = first;
  for (const symbol_t &symbol : state.symbols)
    if (symbol.id != no_id)
      ids->data[ids->count++] = symbol.id;
  return true;
}

} // namespace

bool encode_byte_pairs(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                       byte_pairs_t *state, ids_t *ids) {
  uint32_t first = ids->count;
  if (!cut_into_units(tokenizer, text, size, ids))
    return false;
  encoder_t encoder = {tokenizer, *state};
  if (tokenizer.one_rank_each && ids->count - first <= most_without_heap) {
    merge_few(encoder, ids, first);
    return true;
  }
  return encoder.run(ids, first);
}

} // namespace kiln
