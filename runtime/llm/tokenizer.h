/* A tokenizer's tables, checked: pointers into the section with ranges that hold. Their meaning is
 * in runtime/schema/tokenizer.fbs. */
#ifndef KILN_LLM_TOKENIZER_H
#define KILN_LLM_TOKENIZER_H

#include "kiln/llm.h"
#include "llm/utf8.h"

#include <stdint.h>

namespace kiln {

template <typename T> struct span_t {
  const T *data;
  uint32_t size;
  const T &operator[](uint32_t index) const { return data[index]; }
};
using bytes_t = span_t<uint8_t>;

/* The index into `blocks` of a table by code points. */
inline uint32_t block_index(span_t<uint16_t> pages, uint32_t code_point) {
  uint32_t page = code_point >> 7;
  return pages[page < pages.size ? page : pages.size - 1] * 128u + (code_point & 127);
}

struct assertion_t {
  const uint16_t *transitions;
  bool backward;
};
constexpr uint32_t max_assertions = 6;

struct automaton_t {
  span_t<uint16_t> class_pages;
  const uint8_t *class_blocks;
  const uint8_t *ascii_classes;
  const uint16_t *transitions;
  uint32_t class_count, assertion_count;
  assertion_t
      assertions[max_assertions + 1]; /* the last one of `starts` says where matches begin */
  automaton_t *starts;                /* or NULL */
};

struct trie_t {
  span_t<uint32_t> units;
};

struct character_map_t {
  span_t<uint16_t> pages;
  const uint32_t *blocks;
  const uint8_t *text;
  uint8_t ascii[128]; /* the byte that an ASCII character becomes; 0xFF where it is not one byte */
};

struct composition_t {
  uint32_t first, second, composed;
};

struct normalization_t {
  span_t<uint16_t> pages;
  const uint8_t *blocks;
  const character_map_t *map;
  span_t<composition_t> compositions;
  bool composes;
};

struct rewriting_t {
  const trie_t *trie;
  const automaton_t *clusters; /* or NULL */
  bytes_t text;
};

/* Enums have the numbers of the schema. */
struct text_step_t {
  uint8_t kind, when, behavior;
  bool invert, left, right;
  const void *table; /* what the kind asks for */
  bytes_t text;
};
enum {
  step_prepend = 0,
  step_replace = 1,
  step_split = 2,
  step_map = 3,
  step_normalize = 4,
  step_rewrite = 5,
  step_strip = 6
};
enum {
  prepend_always = 0,
  prepend_unless_present = 1,
  prepend_unless_present_first = 2,
  prepend_first = 3
};
enum {
  split_removed = 0,
  split_isolated = 1,
  split_merged_with_previous = 2,
  split_merged_with_next = 3,
  split_contiguous = 4
};
enum { model_byte_pairs = 0, model_unigram = 1, model_word_pieces = 2 };

struct added_token_t {
  bytes_t text;
  uint32_t id;
  bool special, lstrip, rstrip, single_word;
};

struct added_tokens_t {
  added_token_t *tokens; /* ascending by text */
  uint32_t count;
  const automaton_t *word; /* for single_word */
  uint32_t first[257];     /* those whose text begins with byte b: first[b] .. first[b + 1] - 1 */
};

constexpr uint32_t no_id = UINT32_MAX;
constexpr uint32_t id_mask = 0xFFFFF; /* ids have 20 bits, and this is none */

} // namespace kiln

struct kiln_tokenizer {
  kiln::automaton_t *automata;
  uint32_t automata_count;
  kiln::trie_t *tries;
  kiln::character_map_t *maps;
  kiln::normalization_t *normalizations;
  kiln::rewriting_t *rewritings;
  kiln::text_step_t *normalizer, *pre_tokenizer;
  uint32_t normalizer_count, pre_tokenizer_count;
  uint32_t first_split; /* all steps of the pre-tokenizer from this one on are splits */
  kiln::added_tokens_t added, normalized_added;

  uint32_t size; /* ids */
  const uint32_t *token_offsets;
  const uint8_t *token_bytes;
  uint32_t longest_token; /* bytes */
  kiln::span_t<uint32_t> special_ids;
  kiln::span_t<uint32_t> vocabulary;
  uint32_t byte_units[256]; /* the vocabulary entry of a single byte, or no_id */

  uint8_t model;
  bool byte_level, byte_fallback, fuse_unk;
  const int32_t *byte_tokens;
  int32_t unk;

  kiln::span_t<uint64_t> merges;
  kiln::span_t<uint32_t> merged;
  const uint32_t *priorities; /* or NULL */
  bool one_rank_each;

  const kiln::trie_t *word_trie, *continuation_trie;
  uint32_t max_word_characters;
  const double *scores;
  double unk_score;
  bool single_precision;

  kiln::span_t<uint32_t> prefix, suffix;

  kiln::bytes_t separator, continuation, marker, marker_text;
  kiln::span_t<uint32_t> glued_ids;
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

/* Whether ascending ids hold this one. */
inline bool contains(span_t<uint32_t> ids, uint32_t id) {
  uint32_t low = 0, high = ids.size;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (ids[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low < ids.size && ids[low] == id;
}

/* The hash of the vocabulary's table. */
uint64_t hash_bytes(const uint8_t *text, uint32_t size);

/* The slot of the vocabulary entry with these bytes and hash, or no_id: the id in its lower 20
 * bits, then `direct`. */
uint32_t vocabulary_slot(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                         uint64_t hash);
constexpr uint32_t slot_direct = 1u << 20;

/* The id of the vocabulary entry with these bytes, or no_id. */
uint32_t vocabulary_find(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size);

/* The rank of the merge of a pair of ids, or no_id. */
inline uint32_t merge_find(const kiln_tokenizer &tokenizer, uint32_t left, uint32_t right) {
  uint64_t key = left | (uint64_t)right << 20;
  uint64_t hash = key * 0x9E3779B97F4A7C15u;
  uint32_t count = tokenizer.merges.size;
  uint32_t at = (uint32_t)((hash >> 32) * count >> 32);
  while (true) {
    uint64_t slot = tokenizer.merges[at];
    if ((slot & 0xFFFFFFFFFFu) == key)
      return (uint32_t)(slot >> 40);
    if (slot == UINT64_MAX)
      return no_id;
    at = at + 1 == count ? 0 : at + 1;
  }
}

/* The child of the unit at *node by a label (0, or a byte + 1); false where there is none. */
inline bool trie_step(const trie_t &trie, uint32_t *node, uint32_t label) {
  uint32_t child = (trie.units[*node] & 0x7FFFFF) ^ label;
  if (child >= trie.units.size || trie.units[child] >> 23 != label)
    return false;
  *node = child;
  return true;
}

/* The value of the string that ends at `node`, or no_id. */
inline uint32_t trie_value(const trie_t &trie, uint32_t node) {
  return trie_step(trie, &node, 0) ? trie.units[node] & 0x7FFFFF : no_id;
}

/* The class of the character at `at` < end and its length in bytes. */
inline uint32_t automaton_class(const automaton_t &automaton, const uint8_t *text, uint32_t at,
                                uint32_t end, uint32_t *length) {
  *length = 1;
  if (text[at] < 0x80)
    return automaton.ascii_classes[text[at]];
  uint32_t code_point;
  *length = utf8_read(text + at, end - at, &code_point);
  return automaton.class_blocks[block_index(automaton.class_pages, code_point)];
}

/* The end of the match of `automaton`, which has no assertions, that begins at `begin` of
 * text[0 .. end), or 0. */
uint32_t automaton_match(const automaton_t &automaton, const uint8_t *text, uint32_t begin,
                         uint32_t end);

} // namespace kiln

#endif /* KILN_LLM_TOKENIZER_H */
