/* Byte-pair encoding of one piece of text. */
#ifndef KILN_LLM_BYTE_PAIRS_H
#define KILN_LLM_BYTE_PAIRS_H

#include "core/array.h"
#include "llm/tokenizer.h"

namespace kiln {

struct symbol_t {
  uint32_t id; /* no_id once merged into the one before */
  int32_t previous, next;
};

struct candidate_t {
  uint64_t order; /* rank, then position */
  uint32_t merged;
};

/* Memory that is used again from piece to piece. */
struct byte_pairs_t {
  array_t<symbol_t> symbols;
  array_t<candidate_t> heap;

  void release() {
    symbols.release();
    heap.release();
  }
};

/* Leaves the piece's ids in state->symbols: those whose id is not no_id, in order. False when
 * memory is short. */
[[nodiscard]] bool encode_piece(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                                byte_pairs_t *state);

} // namespace kiln

#endif /* KILN_LLM_BYTE_PAIRS_H */
