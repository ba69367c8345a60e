// Text to ids, in the order that runtime/schema/tokenizer.fbs gives: added tokens, normalizer,
// added tokens again, pre-tokenizer, byte pairs, template.

#include "core/error.h"
#include "llm/byte_pairs.h"
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
  int32_t *ids;
  size_t capacity;
  size_t count;

  array_t<piece_t> segments;
  pieces_t now, next;
  byte_pairs_t byte_pairs;

  void put(uint32_t id) {
    if (count < capacity)
      ids[count] = (int32_t)id;
    ++count;
  }

  bool encode_segment(const uint8_t *text, const piece_t &segment);
  bool encode_text(const uint8_t *text, uint32_t size);
};

bool encoding_t::encode_segment(const uint8_t *text, const piece_t &segment) {
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
  for (uint32_t i = 0; i < tokenizer.pre_tokenizer_count; ++i)
    if (!apply_text_step(tokenizer.pre_tokenizer[i], &now, &next))
      return false;
  for (const piece_t &piece : now.pieces) {
    if (piece.id != no_id) {
      put(piece.id);
      continue;
    }
    if (piece.begin == piece.end)
      continue;
    if (!encode_piece(tokenizer, now.text.data + piece.begin, piece.end - piece.begin, &byte_pairs))
      return false;
    for (const symbol_t &symbol : byte_pairs.symbols)
      if (symbol.id != no_id)
        put(symbol.id);
  }
  return true;
}

bool encoding_t::encode_text(const uint8_t *text, uint32_t size) {
  if (!find_added_tokens(tokenizer.added, text, 0, size, true, skip_special, &segments))
    return false;
  for (const piece_t &segment : segments) {
    if (segment.id != no_id)
      put(segment.id);
    else if (!encode_segment(text, segment))
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
  encoding_t encoding = {
      *tokenizer, (flags & KILN_ENCODE_SPECIAL_AS_TEXT) != 0, ids, capacity, 0, {}, {}, {}, {}};
  bool with_template = (flags & KILN_ENCODE_TEMPLATE) != 0;
  bool open_end = (flags & KILN_ENCODE_OPEN_END) != 0;
  for (uint32_t i = 0; i < tokenizer->prefix.size && with_template; ++i)
    encoding.put(tokenizer->prefix[i]);
  bool done = encoding.encode_text(reinterpret_cast<const uint8_t *>(text), (uint32_t)size_bytes);
  for (uint32_t i = 0; i < tokenizer->suffix.size && with_template && !open_end; ++i)
    encoding.put(tokenizer->suffix[i]);
  encoding.segments.release();
  encoding.now.release();
  encoding.next.release();
  encoding.byte_pairs.release();
  *count = 0;
  if (!done)
    return fail(error, KILN_OUT_OF_MEMORY, "encoding a text of %zu bytes", size_bytes);
  *count = encoding.count;
  if (encoding.count > capacity)
    return fail(error, KILN_BUFFER_TOO_SMALL, "the text has %zu tokens, the buffer holds %zu",
                encoding.count, capacity);
  return KILN_OK;
}
