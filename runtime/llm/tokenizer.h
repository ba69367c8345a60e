/* A tokenizer's tables, checked: pointers into the section with ranges that hold. */
#ifndef KILN_LLM_TOKENIZER_H
#define KILN_LLM_TOKENIZER_H

#include "kiln/llm.h"

#include <stdint.h>

namespace kiln {

template <typename T> struct span_t {
  const T *data;
  uint32_t size;
  const T &operator[](uint32_t index) const { return data[index]; }
};
using bytes_t = span_t<uint8_t>;

struct automaton_t {
  span_t<uint32_t> range_starts;
  const uint8_t *range_classes;
  const uint8_t *ascii_classes;
  const uint16_t *transitions;
  uint32_t class_count;
};

/* Enums have the numbers of the schema. */
struct text_step_t {
  uint8_t kind, when, behavior;
  bool invert;
  const automaton_t *automaton;
  bytes_t text;
};
enum { step_prepend = 0, step_replace = 1, step_split = 2 };
enum { prepend_always = 0, prepend_unless_present = 1, prepend_unless_present_first = 2 };
enum {
  split_removed = 0,
  split_isolated = 1,
  split_merged_with_previous = 2,
  split_merged_with_next = 3,
  split_contiguous = 4
};

struct added_token_t {
  bytes_t text;
  uint32_t id;
  bool special, lstrip, rstrip;
};

struct added_tokens_t {
  added_token_t *tokens; /* ascending by text */
  uint32_t count;
  uint32_t first[257]; /* those whose text begins with byte b: first[b] .. first[b + 1] - 1 */
};

struct merge_t {
  uint32_t right, rank, merged;
};

constexpr uint32_t no_id = UINT32_MAX;

} // namespace kiln

struct kiln_tokenizer {
  kiln::automaton_t *automata;
  kiln::text_step_t *normalizer, *pre_tokenizer;
  uint32_t normalizer_count, pre_tokenizer_count;
  kiln::added_tokens_t added, normalized_added;

  uint32_t size; /* ids */
  const uint32_t *token_offsets;
  const uint8_t *token_bytes;
  kiln::span_t<uint32_t> special_ids;
  kiln::span_t<uint32_t> vocabulary;

  bool byte_level, ignore_merges, byte_fallback, fuse_unk;
  const int32_t *byte_tokens;
  int32_t unk;

  const uint32_t *merge_offsets;
  const kiln::merge_t *merges;

  kiln::span_t<uint32_t> prefix, suffix;

  kiln::bytes_t separator, marker, marker_text;
  bool decode_byte_fallback, first_marker_vanishes;
  uint32_t strip_left;
  uint8_t strip_byte;

  size_t max_piece_bytes;
};

namespace kiln {

inline bytes_t token_text(const kiln_tokenizer &tokenizer, uint32_t id) {
  uint32_t begin = tokenizer.token_offsets[id];
  return {tokenizer.token_bytes + begin, tokenizer.token_offsets[id + 1] - begin};
}

/* The id of the vocabulary entry with these bytes, or no_id. */
uint32_t vocabulary_find(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size);

/* The merge of a pair of ids, or NULL. */
const merge_t *merge_find(const kiln_tokenizer &tokenizer, uint32_t left, uint32_t right);

/* The end of the match of `automaton` that begins at `begin` of text[0 .. end), or 0. */
uint32_t automaton_match(const automaton_t &automaton, const uint8_t *text, uint32_t begin,
                         uint32_t end);

} // namespace kiln

#endif /* KILN_LLM_TOKENIZER_H */
