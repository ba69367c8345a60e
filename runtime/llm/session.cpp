// A saved sequence, little-endian:
//
//   header   session_header_t
//   tokens   i32 [length]
//   logits   f32 [vocab_size], where flags say so: those behind the last token
//   pages    [pages of `length`][page_bytes]: pages of the KV cache, layer by layer
//
// There is nothing behind the pages. The checksum (XXH64, seed 0) is that of all bytes behind it.
// Such bytes may come from anywhere, so everything that is used as an index is checked; keys,
// values and logits are numbers that cannot harm, whatever they are.

#include "llm/llm.h"

#include "core/bytes.h"
#include "core/error.h"
#include "core/file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace kiln {
namespace {

constexpr uint8_t magic[8] = {'K', 'I', 'L', 'N', 'S', 'E', 'S', '\n'};
constexpr uint32_t version = 1;
constexpr uint32_t has_logits = 1;

struct session_header_t {
  uint8_t magic[8];
  uint64_t checksum; /* of what follows */
  uint32_t version;
  uint32_t flags;
  uint64_t fingerprint; /* kiln_model_fingerprint of the artifact */
  uint64_t page_bytes;
  uint32_t page_size;
  uint32_t vocab_size;
  uint32_t length;
  int32_t pending; /* a token that waits behind those in the cache; -1: none */
};
static_assert(sizeof(session_header_t) == 56, "no padding");
constexpr uint64_t checked_from = offsetof(session_header_t, version);

uint64_t body_bytes(const kiln_llm_t *llm, uint32_t length, bool logits) {
  // At most 2^28 tokens, 2^24 logits, and as many bytes of pages as the cache has.
  return (uint64_t)length * sizeof(int32_t) +
         (logits ? (uint64_t)llm->info.vocab_size * sizeof(float) : 0) +
         pages_of(llm, length) * page_bytes(llm);
}

kiln_status_t check_header(const kiln_llm_t *llm, byte_range_t bytes, session_header_t *header,
                           kiln_error *error) {
  if (!bytes.read(0, header))
    return fail(error, KILN_BAD_SESSION, "expected a header of %zu bytes, found %" PRIu64 " bytes",
                sizeof(*header), bytes.size);
  if (memcmp(header->magic, magic, sizeof(magic)) != 0)
    return fail(error, KILN_BAD_SESSION, "it does not begin as a saved session does");
  if (header->version != version)
    return fail(error, KILN_UNSUPPORTED_VERSION,
                "expected session version %" PRIu32 ", found %" PRIu32, version, header->version);
  uint64_t checksum = XXH64(bytes.data + checked_from, (size_t)(bytes.size - checked_from), 0);
  if (checksum != header->checksum)
    return fail(error, KILN_BAD_SESSION,
                "expected checksum %016" PRIx64 ", found %016" PRIx64 ": cut short or changed",
                header->checksum, checksum);
  uint64_t fingerprint = kiln_model_fingerprint(llm->model);
  if (header->fingerprint != fingerprint)
    return fail(error, KILN_OTHER_ARTIFACT,
                "expected fingerprint %016" PRIx64 ", found %016" PRIx64, fingerprint,
                header->fingerprint);
  const kiln_llm_info &info = llm->info;
  if (header->page_bytes != page_bytes(llm) || header->page_size != info.page_size ||
      header->vocab_size != info.vocab_size || header->flags > has_logits)
    return fail(error, KILN_BAD_SESSION,
                "expected pages of %u tokens and %" PRIu64 " bytes, %u logits and flags 0 or 1, "
                "found %u, %" PRIu64 ", %u and %u",
                info.page_size, page_bytes(llm), info.vocab_size, header->page_size,
                header->page_bytes, header->vocab_size, header->flags);
  if (header->pending < no_token || header->pending >= (int64_t)info.vocab_size)
    return fail(error, KILN_BAD_SESSION, "the last token: expected an id below %u, found %d",
                info.vocab_size, header->pending);
  if (header->length > info.context_length)
    return fail(error, KILN_CONTEXT_FULL, "the session has %u tokens, the context holds %u",
                header->length, info.context_length);
  uint64_t expected = sizeof(*header) + body_bytes(llm, header->length, header->flags);
  if (bytes.size != expected)
    return fail(error, KILN_BAD_SESSION, "%u tokens: expected %" PRIu64 " bytes, found %" PRIu64,
                header->length, expected, bytes.size);
  return KILN_OK;
}

/* The pages that the sequence would have to itself after letting go of its own. */
uint32_t pages_to_gain(const kiln_llm_t *llm, uint32_t sequence) {
  uint32_t pages = llm->info.cache_pages_free;
  const int32_t *row = llm->block_table + (size_t)sequence * llm->columns;
  for (uint32_t i = 0; i < llm->sequences[sequence].pages; ++i)
    pages += llm->page_users[row[i]] == 1;
  return pages;
}

kiln_status_t check_tokens(const kiln_llm_t *llm, const uint8_t *tokens, uint32_t length,
                           kiln_error *error) {
  for (uint32_t i = 0; i < length; ++i) {
    int32_t token;
    memcpy(&token, tokens + (size_t)i * sizeof(token), sizeof(token));
    if (token < 0 || (uint32_t)token >= llm->info.vocab_size)
      return fail(error, KILN_BAD_SESSION, "token %u: expected an id below %u, found %d", i,
                  llm->info.vocab_size, token);
  }
  return KILN_OK;
}

sequence_t *find_copyable(const kiln_llm_t *llm, uint32_t sequence, kiln_error *error) {
  if (!llm) {
    fail(error, KILN_INVALID_ARGUMENT, "expected a language model");
    return nullptr;
  }
  sequence_t *state = sequence_find(llm, sequence, error);
  if (state && !llm->cache_layers) {
    fail(error, KILN_UNSUPPORTED_VERSION,
         "the artifact does not say how its KV cache lies in memory: compile the model again");
    return nullptr;
  }
  return state;
}

kiln_status_t failure(const kiln_llm_t *llm) {
  return llm && !llm->cache_layers ? KILN_UNSUPPORTED_VERSION : KILN_INVALID_ARGUMENT;
}

bool write_all(int fd, const uint8_t *bytes, uint64_t size) {
  while (size) {
    ssize_t written = write(fd, bytes, size < 1u << 30 ? (size_t)size : 1u << 30);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    bytes += written;
    size -= (uint64_t)written;
  }
  return true;
}

/* Writes beside the path and renames, so that no half-written file has the name. */
kiln_status_t write_file(const char *path, const uint8_t *bytes, uint64_t size, kiln_error *error) {
  char beside[4096];
  int length = snprintf(beside, sizeof(beside), "%s.%ld.part", path, (long)getpid());
  if (length < 0 || (size_t)length >= sizeof(beside))
    return fail(error, KILN_IO, "the path is too long");
  int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); // it tells what was said
  if (fd < 0)
    return fail(error, KILN_IO, "%s: cannot be written: %s", path, strerror(errno));
  bool good = write_all(fd, bytes, size);
  int cause = errno;
  good = close(fd) == 0 && good;
  if (good && rename(beside, path) == 0)
    return KILN_OK;
  cause = good ? errno : cause;
  unlink(beside);
  return fail(error, KILN_IO, "%s: cannot be written: %s", path, strerror(cause));
}

} // namespace
} // namespace kiln

using namespace kiln;

kiln_status_t kiln_sequence_save_bytes(const kiln_llm_t *llm, uint32_t sequence,
                                       uint64_t *size_bytes, kiln_error *error) {
  const sequence_t *state = find_copyable(llm, sequence, error);
  if (!state)
    return failure(llm);
  *size_bytes = sizeof(session_header_t) + body_bytes(llm, state->length, state->has_logits);
  return KILN_OK;
}

kiln_status_t kiln_sequence_save(const kiln_llm_t *llm, uint32_t sequence, void *data,
                                 uint64_t size_bytes, kiln_error *error) {
  uint64_t needed = 0;
  if (kiln_status_t status = kiln_sequence_save_bytes(llm, sequence, &needed, error))
    return status;
  if (!data || size_bytes < needed)
    return fail(error, KILN_BUFFER_TOO_SMALL, "expected %" PRIu64 " bytes, found %" PRIu64, needed,
                size_bytes);
  const sequence_t &state = llm->sequences[sequence];
  session_header_t header = {};
  memcpy(header.magic, magic, sizeof(magic));
  header.version = version;
  header.flags = state.has_logits ? has_logits : 0;
  header.fingerprint = kiln_model_fingerprint(llm->model);
  header.page_bytes = page_bytes(llm);
  header.page_size = llm->info.page_size;
  header.vocab_size = llm->info.vocab_size;
  header.length = state.length;
  header.pending = state.pending;
  uint8_t *bytes = static_cast<uint8_t *>(data), *next = bytes + sizeof(header);
  size_t tokens_size = state.length * sizeof(int32_t);
  memcpy(next, sequence_history(llm, sequence), tokens_size);
  next += tokens_size;
  if (state.has_logits) {
    size_t logits_size = llm->info.vocab_size * sizeof(float);
    memcpy(next, sequence_logits_row(llm, sequence), logits_size);
    next += logits_size;
  }
  for (uint32_t i = 0; i < pages_of(llm, state.length); ++i, next += header.page_bytes)
    page_read(llm, block_row(llm, sequence)[i], next);
  memcpy(bytes, &header, sizeof(header));
  header.checksum = XXH64(bytes + checked_from, (size_t)(needed - checked_from), 0);
  memcpy(bytes, &header, sizeof(header));
  return KILN_OK;
}

kiln_status_t kiln_sequence_restore(kiln_llm_t *llm, uint32_t sequence, const void *data,
                                    uint64_t size_bytes, kiln_error *error) {
  sequence_t *state = find_copyable(llm, sequence, error);
  if (!state)
    return failure(llm);
  byte_range_t bytes = {static_cast<const uint8_t *>(data), data ? size_bytes : 0};
  session_header_t header;
  if (kiln_status_t status = check_header(llm, bytes, &header, error))
    return status;
  const uint8_t *tokens = bytes.data + sizeof(header);
  const uint8_t *logits = tokens + header.length * sizeof(int32_t);
  const uint8_t *pages = logits + (header.flags ? llm->info.vocab_size * sizeof(float) : 0);
  if (kiln_status_t status = check_tokens(llm, tokens, header.length, error))
    return status;
  uint32_t wanted = pages_of(llm, header.length), there = pages_to_gain(llm, sequence);
  if (wanted > there)
    return fail(error, KILN_CONTEXT_FULL,
                "the session needs %u pages of the KV cache, %u of %u are free", wanted, there,
                llm->info.cache_pages);

  // Nothing can fail from here on.
  if (kiln_status_t status = kiln_sequence_truncate(llm, sequence, 0, error))
    return status;
  take_pages(llm, sequence, header.length);
  for (uint32_t i = 0; i < wanted; ++i)
    page_write(llm, block_row(llm, sequence)[i], pages + i * header.page_bytes);
  memcpy(sequence_history(llm, sequence), tokens, header.length * sizeof(int32_t));
  if (header.flags)
    memcpy(sequence_logits_row(llm, sequence), logits, llm->info.vocab_size * sizeof(float));
  state->length = header.length;
  state->pending = header.pending;
  state->has_logits = header.flags && header.length > 0;
  state->has_text = history_has_text(llm, sequence_history(llm, sequence), header.length);
  return KILN_OK;
}

kiln_status_t kiln_sequence_save_path(const kiln_llm_t *llm, uint32_t sequence, const char *path,
                                      kiln_error *error) {
  uint64_t size = 0;
  if (kiln_status_t status = kiln_sequence_save_bytes(llm, sequence, &size, error))
    return status;
  void *data = size <= SIZE_MAX ? malloc((size_t)size) : nullptr;
  if (!data)
    return fail(error, KILN_OUT_OF_MEMORY, "a session of %" PRIu64 " bytes", size);
  kiln_status_t status = kiln_sequence_save(llm, sequence, data, size, error);
  status = status ? status : write_file(path, static_cast<uint8_t *>(data), size, error);
  free(data);
  return status;
}

kiln_status_t kiln_sequence_restore_path(kiln_llm_t *llm, uint32_t sequence, const char *path,
                                         kiln_error *error) {
  mapping_t mapping = {};
  kiln_status_t status = mapping_open_path(path, &mapping, error);
  if (!status) {
    status = kiln_sequence_restore(llm, sequence, mapping.bytes.data, mapping.bytes.size, error);
    mapping_close(&mapping);
  }
  return status ? fail_within(error, status, "%s", path) : KILN_OK;
}
