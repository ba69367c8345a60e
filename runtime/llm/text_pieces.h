/* A text being cut into pieces. */
#ifndef KILN_LLM_TEXT_PIECES_H
#define KILN_LLM_TEXT_PIECES_H

#include "core/array.h"
#include "llm/tokenizer.h"

namespace kiln {

struct piece_t {
  uint32_t begin, end; /* bytes of the text */
  uint32_t id;         /* an added token, or no_id */
  bool first;          /* begins the whole text */
};

struct pieces_t {
  array_t<uint8_t> text;
  array_t<piece_t> pieces;
  uint32_t limit; /* of the text, in bytes: what no sensible normalizer exceeds */

  void release() {
    text.release();
    pieces.release();
  }
};

/* Makes room for more bytes of text; false when memory or the limit is reached. */
[[nodiscard]] bool reserve_bytes(pieces_t *pieces, uint32_t size);
/* Appends bytes to the text; false likewise. */
[[nodiscard]] bool append_bytes(pieces_t *pieces, const uint8_t *data, uint32_t size);

/* Finds added tokens in text[begin .. end) and appends them and the rests between them. */
[[nodiscard]] bool find_added_tokens(const added_tokens_t &added, const uint8_t *text,
                                     uint32_t begin, uint32_t end, bool first, bool skip_special,
                                     array_t<piece_t> *pieces);

/* Takes pieces one by one; returns false to give up. */
struct piece_sink_t {
  bool (*take)(void *user, const piece_t &piece);
  void *user;
};

/* Cuts a piece that is no token by a step of kind step_split. */
[[nodiscard]] bool split_piece(const text_step_t &step, const uint8_t *text, const piece_t &piece,
                               piece_sink_t sink);

/* Applies a step to all pieces of `from`; the result is in `to` or, where the text stays, in `from`
 * again: the two are exchanged as needed so that the result is always in `from`. */
[[nodiscard]] bool apply_text_step(const text_step_t &step, pieces_t *from, pieces_t *to);

/* Where the white space that ends at `end` begins; where the white space at `begin` ends. */
uint32_t space_before(const uint8_t *text, uint32_t begin, uint32_t end);
uint32_t space_after(const uint8_t *text, uint32_t begin, uint32_t end);

/* Appends text[begin .. end) in the normalization form. */
[[nodiscard]] bool append_normalized(const normalization_t &form, const uint8_t *text,
                                     uint32_t begin, uint32_t end, pieces_t *to);

} // namespace kiln

#endif /* KILN_LLM_TEXT_PIECES_H */
