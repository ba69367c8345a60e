// Text to ids, in the order that runtime/schema/tokenizer.fbs gives: added tokens, normalizer,
// added tokens again, pre-tokenizer, model, template.

#include "core/error.h"
#include "llm/piece_model.h"
#include "llm/text_pieces.h"
#include "llm/tokenizer.h"

namespace kiln {
namespace {

constexpr size_t max_input_bytes = size_t(256) << 20;
/* A hostile normalizer could make a text longer with each step. */
constexpr uint64_t max_growth = 16, max_normalized_bytes = 1u << 30;

struct encoding_t {
  const kiln_tokenizer &tokenizer;
  bool skip_special;
  array_t<piece_t> segments;
  pieces_t now, next;
  piece_model_t model;

  void release() {
    segments.release();
    now.release();
    next.release();
    model.release();
  }
  bool change_segment(const uint8_t *text, const piece_t &segment);
  bool encode_pieces(const piece_t &piece, uint32_t step);
  bool encode_text(const uint8_t *text, uint32_t size);
};

/* A split that is not the last step hands its pieces on to the next one. */
struct level_t {
  encoding_t *encoding;
  uint32_t step;
};
bool take_piece(void *user, const piece_t &piece) {
  level_t *level = static_cast<level_t *>(user);
  return level->encoding->encode_pieces(piece, level->step);
}

/* Splits the piece by the steps of the pre-tokenizer from `step` on, and encodes what comes out. */
bool encoding_t::encode_pieces(const piece_t &piece, uint32_t step) {
  if (piece.id != no_id) {
    model.output.put(piece.id);
    return true;
  }
  if (step == tokenizer.pre_tokenizer_count)
    return piece.begin == piece.end ||
           model.encode(now.text.data + piece.begin, piece.end - piece.begin);
  level_t level = {this, step + 1};
  return split_piece(tokenizer.pre_tokenizer[step], now.text.data, piece, {take_piece, &level});
}

/* Leaves the segment in `now`, after all steps that may change the text. */
bool encoding_t::change_segment(const uint8_t *text, const piece_t &segment) {
  uint32_t size = segment.end - segment.begin;
  now.text.count = now.pieces.count = 0;
  uint64_t limit = 65536 + max_growth * size;
  now.limit = next.limit = (uint32_t)(limit < max_normalized_bytes ? limit : max_normalized_bytes);
  if (!append_bytes(&now, text + segment.begin, size) ||
      !now.pieces.push({0, size, no_id, segment.begin == 0}))
    return false;
  for (uint32_t i = 0; i < tokenizer.normalizer_count; ++i)
    if (!apply_text_step(tokenizer.normalizer[i], &now, &next))
      return false;
  if (tokenizer.normalized_added.count != 0) {
    piece_t whole = now.pieces[0];
    now.pieces.count = 0;
    if (!find_added_tokens(tokenizer.normalized_added, now.text.data, whole.begin, whole.end,
                           whole.first, skip_special, &now.pieces))
      return false;
  }
  for (uint32_t i = 0; i < tokenizer.first_split; ++i)
    if (!apply_text_step(tokenizer.pre_tokenizer[i], &now, &next))
      return false;
  return true;
}

bool encoding_t::encode_text(const uint8_t *text, uint32_t size) {
  model.cache.create(size);
  if (!find_added_tokens(tokenizer.added, text, 0, size, true, skip_special, &segments))
    return false;
  for (const piece_t &segment : segments) {
    if (segment.id != no_id) {
      model.output.put(segment.id);
      continue;
    }
    if (!change_segment(text, segment))
      return false;
    for (const piece_t &piece : now.pieces)
      if (!encode_pieces(piece, tokenizer.first_split))
        return false;
  }
  return true;
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_tokenizer_encode(const kiln_tokenizer_t *tokenizer, const char *text,
                                    size_t size_bytes, uint32_t flags, int32_t *ids,
                                    size_t capacity, size_t *count, kiln_error *error) {
  if (!tokenizer || (!text && size_bytes) || (!ids && capacity) || !count)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a tokenizer, a text and a place for ids");
  if (size_bytes > max_input_bytes)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a text of at most %zu bytes, found %zu",
                max_input_bytes, size_bytes);
  bool skip_special = (flags & KILN_ENCODE_SPECIAL_AS_TEXT) != 0;
  bool with_template = (flags & KILN_ENCODE_TEMPLATE) != 0;
  bool open_end = (flags & KILN_ENCODE_OPEN_END) != 0;
  encoding_t encoding = {
      *tokenizer, skip_special, {}, {}, {}, {*tokenizer, {ids, capacity, 0}, {}, {}, {}, {}}};
  id_output_t &output = encoding.model.output;
  for (uint32_t i = 0; i < tokenizer->prefix.size && with_template; ++i)
    output.put(tokenizer->prefix[i]);
  bool done = encoding.encode_text(reinterpret_cast<const uint8_t *>(text), (uint32_t)size_bytes);
  for (uint32_t i = 0; i < tokenizer->suffix.size && with_template && !open_end; ++i)
    output.put(tokenizer->suffix[i]);
  encoding.release();
  *count = 0;
  if (!done)
    return fail(error, KILN_OUT_OF_MEMORY, "encoding a text of %zu bytes", size_bytes);
  *count = output.count;
  if (output.count > capacity)
    return fail(error, KILN_BUFFER_TOO_SMALL, "the text has %zu tokens, the buffer holds %zu",
                output.count, capacity);
  return KILN_OK;
}
