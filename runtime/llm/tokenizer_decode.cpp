// Ids to text, whole or token by token. Decoding whole gives the bytes as they are; a stream gives
// valid UTF-8 only, with U+FFFD for each maximal part of a broken sequence (Unicode 16,
// section 3.9, "Substitution of Maximal Subparts").

#include "core/error.h"
#include "llm/tokenizer.h"

#include <string.h>

namespace kiln {
namespace {

/* Writes bytes while they fit and counts all of them. */
struct output_t {
  char *text;
  size_t capacity;
  size_t size;

  void put(uint8_t byte) {
    if (size < capacity)
      text[size] = (char)byte;
    ++size;
  }
  void put_replacement() {
    put(0xEF);
    put(0xBF);
    put(0xBD);
  }
};

int hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return -1;
}

/* The byte of a token "<0xHH>", or -1. */
int byte_of_token(bytes_t text) {
  if (text.size != 6 || memcmp(text.data, "<0x", 3) != 0 || text[5] != '>')
    return -1;
  int high = hex_digit(text[3]), low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void begin(kiln_text_stream *stream, const kiln_tokenizer_t *tokenizer, uint32_t flags) {
  *stream = {};
  stream->tokenizer = tokenizer;
  stream->flags = flags;
  stream->started = (flags & KILN_DECODE_CONTINUE) != 0;
  stream->strip_left = stream->started ? 0 : tokenizer->strip_left;
}

/* Calls put(byte) for each byte that the token stands for. */
template <typename Put> void decode_token(kiln_text_stream *stream, int32_t id, Put put) {
  const kiln_tokenizer &tokenizer = *stream->tokenizer;
  if (id < 0 || (uint32_t)id >= tokenizer.size)
    return;
  if ((stream->flags & KILN_DECODE_SKIP_SPECIAL) && kiln_tokenizer_is_special(&tokenizer, id))
    return;
  bytes_t text = token_text(tokenizer, (uint32_t)id);
  if (text.size == 0)
    return; // an id that is not in use
  auto put_stripped = [&](uint8_t byte) {
    if (stream->strip_left > 0 && byte == tokenizer.strip_byte) {
      --stream->strip_left;
      return;
    }
    stream->strip_left = 0;
    put(byte);
  };
  auto put_all = [&](bytes_t bytes) {
    for (uint32_t i = 0; i < bytes.size; ++i)
      put_stripped(bytes[i]);
  };

  bool first = !stream->started;
  stream->started = 1;
  bytes_t continuation = tokenizer.continuation;
  if (!first && continuation.size != 0 && text.size >= continuation.size &&
      memcmp(text.data, continuation.data, continuation.size) == 0)
    text = {text.data + continuation.size, text.size - continuation.size};
  else if (!first && !contains(tokenizer.glued_ids, (uint32_t)id))
    put_all(tokenizer.separator);
  int byte = tokenizer.decode_byte_fallback ? byte_of_token(text) : -1;
  if (byte >= 0) {
    put_stripped((uint8_t)byte);
    return;
  }
  bytes_t marker = tokenizer.marker;
  for (uint32_t at = 0; at < text.size;) {
    if (marker.size != 0 && marker.size <= text.size - at &&
        memcmp(text.data + at, marker.data, marker.size) == 0) {
      if (!first || !tokenizer.first_marker_vanishes)
        put_all(tokenizer.marker_text);
      at += marker.size;
    } else {
      put_stripped(text[at++]);
    }
  }
}

/* Passes on complete characters. */
void put_utf8(kiln_text_stream *stream, uint8_t byte, output_t *output) {
  if (stream->pending_size > 0) {
    if (byte >= stream->next_low && byte <= stream->next_high) {
      stream->pending[stream->pending_size++] = byte;
      stream->next_low = 0x80;
      stream->next_high = 0xBF;
      if (stream->pending_size == stream->pending_wanted) {
        for (uint32_t i = 0; i < stream->pending_size; ++i)
          output->put(stream->pending[i]);
        stream->pending_size = 0;
      }
      return;
    }
    output->put_replacement();
    stream->pending_size = 0;
  }
  if (byte < 0x80) {
    output->put(byte);
    return;
  }
  if (byte < 0xC2 || byte > 0xF4) {
    output->put_replacement();
    return;
  }
  stream->pending[0] = byte;
  stream->pending_size = 1;
  stream->pending_wanted = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  stream->next_low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  stream->next_high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_tokenizer_decode(const kiln_tokenizer_t *tokenizer, const int32_t *ids,
                                    size_t count, uint32_t flags, char *text, size_t capacity,
                                    size_t *size_bytes, kiln_error *error) {
  if (!tokenizer || (!ids && count) || (!text && capacity) || !size_bytes)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a tokenizer, ids and a place for the text");
  output_t output = {text, capacity, 0};
  kiln_text_stream stream;
  begin(&stream, tokenizer, flags);
  for (size_t i = 0; i < count; ++i)
    decode_token(&stream, ids[i], [&](uint8_t byte) { output.put(byte); });
  *size_bytes = output.size;
  if (output.size > capacity)
    return fail(error, KILN_BUFFER_TOO_SMALL, "the text has %zu bytes, the buffer holds %zu",
                output.size, capacity);
  return KILN_OK;
}

size_t kiln_tokenizer_max_piece_bytes(const kiln_tokenizer_t *tokenizer) {
  return tokenizer->max_piece_bytes;
}

void kiln_text_stream_begin(kiln_text_stream *stream, const kiln_tokenizer_t *tokenizer,
                            uint32_t decode_flags) {
  begin(stream, tokenizer, decode_flags);
}

static kiln_status_t check_room(const kiln_text_stream *stream, const char *text, size_t capacity,
                                const size_t *size_bytes, kiln_error *error) {
  if (!stream || !stream->tokenizer || !text || !size_bytes)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a stream and a place for the text");
  if (capacity < stream->tokenizer->max_piece_bytes)
    return fail(error, KILN_BUFFER_TOO_SMALL, "a piece may have %zu bytes, the buffer holds %zu",
                stream->tokenizer->max_piece_bytes, capacity);
  return KILN_OK;
}

kiln_status_t kiln_text_stream_push(kiln_text_stream *stream, int32_t id, char *text,
                                    size_t capacity, size_t *size_bytes, kiln_error *error) {
  kiln_status_t status = check_room(stream, text, capacity, size_bytes, error);
  if (status)
    return status;
  output_t output = {text, capacity, 0};
  decode_token(stream, id, [&](uint8_t byte) { put_utf8(stream, byte, &output); });
  *size_bytes = output.size;
  return KILN_OK;
}

kiln_status_t kiln_text_stream_end(kiln_text_stream *stream, char *text, size_t capacity,
                                   size_t *size_bytes, kiln_error *error) {
  kiln_status_t status = check_room(stream, text, capacity, size_bytes, error);
  if (status)
    return status;
  output_t output = {text, capacity, 0};
  if (stream->pending_size > 0)
    output.put_replacement();
  *size_bytes = output.size;
  begin(stream, stream->tokenizer, stream->flags);
  return KILN_OK;
}
