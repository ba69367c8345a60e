// Look-ups in a tokenizer's tables: vocabulary entries by their bytes, merges by their pair,
// matches of a pattern. The tables were checked at open and are described in
// runtime/schema/tokenizer.fbs.

#include "llm/tokenizer.h"

#include "llm/utf8.h"

#include <string.h>

namespace kiln {

uint32_t vocabulary_find(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < size; ++i)
    hash = (hash ^ text[i]) * 16777619u;
  uint32_t mask = tokenizer.vocabulary.size - 1;
  for (uint32_t slot = hash & mask;; slot = (slot + 1) & mask) {
    uint32_t id = tokenizer.vocabulary[slot];
    if (id == no_id)
      return no_id;
    bytes_t entry = token_text(tokenizer, id);
    if (entry.size == size && memcmp(entry.data, text, size) == 0)
      return id;
  }
}

const merge_t *merge_find(const kiln_tokenizer &tokenizer, uint32_t left, uint32_t right) {
  uint32_t low = tokenizer.merge_offsets[left], high = tokenizer.merge_offsets[left + 1];
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const merge_t &merge = tokenizer.merges[middle];
    if (merge.right == right)
      return &merge;
    if (merge.right < right)
      low = middle + 1;
    else
      high = middle;
  }
  return nullptr;
}

static uint32_t class_of(const automaton_t &automaton, uint32_t code_point) {
  if (code_point < 128)
    return automaton.ascii_classes[code_point];
  uint32_t low = 0, high = automaton.range_starts.size; // starts[low] <= code_point < starts[high]
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (automaton.range_starts[middle] <= code_point)
      low = middle;
    else
      high = middle;
  }
  return automaton.range_classes[low];
}

uint32_t automaton_match(const automaton_t &automaton, const uint8_t *text, uint32_t begin,
                         uint32_t end) {
  uint32_t columns = automaton.class_count + 1;
  uint32_t matched = 0, state = 1, here = begin;
  while (true) {
    uint32_t length = 0, code_class = automaton.class_count;
    if (here < end) {
      uint32_t code_point;
      length = utf8_read(text + here, end - here, &code_point);
      code_class = class_of(automaton, code_point);
    }
    uint32_t transition = automaton.transitions[state * columns + code_class];
    if (transition & 0x8000u)
      matched = here;
    state = transition & 0x7FFFu;
    if (state == 0 || length == 0)
      return matched;
    here += length;
  }
}

} // namespace kiln

using namespace kiln;

size_t kiln_tokenizer_size(const kiln_tokenizer_t *tokenizer) { return tokenizer->size; }

int32_t kiln_tokenizer_find(const kiln_tokenizer_t *tokenizer, const char *token,
                            size_t size_bytes) {
  if (!token || size_bytes == 0 || size_bytes > UINT32_MAX)
    return -1;
  const uint8_t *text = reinterpret_cast<const uint8_t *>(token);
  uint32_t added = tokenizer->added.count, all = added + tokenizer->normalized_added.count;
  for (uint32_t i = 0; i < all; ++i) {
    uint32_t id = i < added ? tokenizer->added.tokens[i].id
                            : tokenizer->normalized_added.tokens[i - added].id;
    bytes_t content = token_text(*tokenizer, id);
    if (content.size == size_bytes && memcmp(content.data, text, size_bytes) == 0)
      return (int32_t)id;
  }
  uint32_t id = vocabulary_find(*tokenizer, text, (uint32_t)size_bytes);
  return id == no_id ? -1 : (int32_t)id;
}

int kiln_tokenizer_is_special(const kiln_tokenizer_t *tokenizer, int32_t id) {
  const span_t<uint32_t> &ids = tokenizer->special_ids;
  uint32_t low = 0, high = ids.size;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (ids[middle] < (uint32_t)id)
      low = middle + 1;
    else
      high = middle;
  }
  return id >= 0 && low < ids.size && ids[low] == (uint32_t)id;
}
