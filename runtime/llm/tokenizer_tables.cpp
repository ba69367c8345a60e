// Look-ups of vocabulary entries by their bytes. The tables were checked at open and are described
// in runtime/schema/tokenizer.fbs.

#include "llm/tokenizer.h"

#include <string.h>

namespace kiln {

template <typename T> static uint64_t load(const uint8_t *from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

/* Fewer than 8 bytes as a little-endian number. */
static uint64_t load_rest(const uint8_t *from, uint32_t size) {
  if (size >= 4)
    return load<uint32_t>(from) | load<uint32_t>(from + size - 4) << 8 * (size - 4);
  if (size >= 2)
    return load<uint16_t>(from) | load<uint16_t>(from + size - 2) << 8 * (size - 2);
  return size ? from[0] : 0;
}

uint64_t hash_bytes(const uint8_t *text, uint32_t size) {
  uint64_t hash = 0x9E3779B97F4A7C15u ^ size;
  auto add = [&](uint64_t group) {
    hash = (hash ^ group) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  uint32_t at = 0;
  for (; size - at >= 8; at += 8)
    add(load<uint64_t>(text + at));
  if (at < size)
    add(load_rest(text + at, size - at));
  return hash;
}

uint32_t vocabulary_slot(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                         uint64_t hash) {
  uint32_t count = tokenizer.vocabulary.size;
  uint32_t tag = (uint32_t)(hash >> 53);
  uint32_t at = (uint32_t)((hash & UINT32_MAX) * count >> 32);
  while (true) {
    uint32_t slot = tokenizer.vocabulary[at];
    if (slot == UINT32_MAX)
      return no_id;
    if (slot >> 21 == tag) {
      bytes_t entry = token_text(tokenizer, slot & id_mask);
      if (entry.size == size && memcmp(entry.data, text, size) == 0)
        return slot;
    }
    at = at + 1 == count ? 0 : at + 1;
  }
}

uint32_t vocabulary_find(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size) {
  if (size > tokenizer.longest_token)
    return no_id;
  uint32_t slot = vocabulary_slot(tokenizer, text, size, hash_bytes(text, size));
  return slot == no_id ? no_id : slot & id_mask;
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
  return id >= 0 && contains(tokenizer->special_ids, (uint32_t)id);
}
