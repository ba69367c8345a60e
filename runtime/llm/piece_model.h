/* From a piece of text to ids: the models, and the cache of what they answered. */
#ifndef KILN_LLM_PIECE_MODEL_H
#define KILN_LLM_PIECE_MODEL_H

#include "core/array.h"
#include "llm/tokenizer.h"

namespace kiln {

using ids_t = array_t<uint32_t>;

/* Where the ids of a whole text are put. */
struct id_output_t {
  int32_t *ids;
  size_t capacity;
  size_t count; /* also of those that do not fit */

  void put(uint32_t id) {
    if (count < capacity)
      ids[count] = (int32_t)id;
    ++count;
  }
};

/* Byte pairs: memory that is used again from piece to piece. */
struct symbol_t {
  uint32_t id; /* no_id once merged into the one before */
  int32_t previous, next;
};
struct candidate_t {
  uint64_t order; /* priority, then position */
  uint32_t merged;
};
struct byte_pairs_t {
  array_t<symbol_t> symbols;
  array_t<candidate_t> heap;
};

/* Unigram: the best way to a position. */
struct path_t {
  double sum;
  uint32_t begin, id; /* the last token; id is no_id where the position was not reached */
};

/* Pieces and their ids, so that a word that comes again is not encoded again. */
struct piece_entry_t {
  uint64_t hash;
  uint32_t text, size; /* bytes of `texts`; size 0 where the entry is not in use */
  uint32_t first, count;
};
struct piece_cache_t {
  piece_entry_t *entries;
  uint32_t entry_count; /* a power of two, or 0 */
  array_t<uint8_t> texts;
  ids_t ids;

  /* Sized for a text of so many bytes; without entries where memory is short or the text small. */
  void create(uint32_t size_bytes);
  const piece_entry_t *find(const uint8_t *text, uint32_t size, uint64_t hash) const;
  void add(const uint8_t *text, uint32_t size, uint64_t hash, const ids_t &result);
  void release();
};

struct piece_model_t {
  const kiln_tokenizer &tokenizer;
  id_output_t output;
  byte_pairs_t byte_pairs;
  array_t<path_t> paths;
  ids_t ids; /* of a piece */
  piece_cache_t cache;

  void release();
  /* Writes the ids of a piece that is not empty; false when memory is short. */
  [[nodiscard]] bool encode(const uint8_t *text, uint32_t size);
};

/* Each appends the piece's ids to `ids`; false when memory is short. */
[[nodiscard]] bool encode_byte_pairs(const kiln_tokenizer &tokenizer, const uint8_t *text,
                                     uint32_t size, byte_pairs_t *state, ids_t *ids);
[[nodiscard]] bool encode_unigram(const kiln_tokenizer &tokenizer, const uint8_t *text,
                                  uint32_t size, array_t<path_t> *paths, ids_t *ids);
[[nodiscard]] bool encode_word_pieces(const kiln_tokenizer &tokenizer, const uint8_t *text,
                                      uint32_t size, ids_t *ids);

/* Appends the byte tokens of some bytes if all of them have one; false when memory is short. */
[[nodiscard]] bool put_byte_tokens(const kiln_tokenizer &tokenizer, const uint8_t *text,
                                   uint32_t size, ids_t *ids, bool *all);

} // namespace kiln

#endif /* KILN_LLM_PIECE_MODEL_H */
