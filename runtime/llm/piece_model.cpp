// From a piece of text to ids. Most pieces of a text are words that are one token, or that came
// before: the first are known by the vocabulary's table, the second by a cache that lives as long
// as the call.

#include "llm/piece_model.h"

#include <string.h>

namespace kiln {
namespace {

/* Longer pieces do not come again. */
constexpr uint32_t longest_cached = 64;
constexpr uint32_t least_text = 512, most_entries = 1u << 14;
constexpr uint32_t most_cached_bytes = 1u << 20;

} // namespace

void piece_cache_t::create(uint32_t size_bytes) {
  if (size_bytes < least_text)
    return;
  uint32_t wanted = 64;
  while (wanted < most_entries && wanted < size_bytes / 16)
    wanted *= 2;
  entries = static_cast<piece_entry_t *>(calloc(wanted, sizeof(piece_entry_t)));
  entry_count = entries ? wanted : 0;
}

const piece_entry_t *piece_cache_t::find(const uint8_t *text, uint32_t size, uint64_t hash) const {
  const piece_entry_t &entry = entries[hash & (entry_count - 1)];
  bool same =
      entry.hash == hash && entry.size == size && memcmp(texts.data + entry.text, text, size) == 0;
  return same ? &entry : nullptr;
}

void piece_cache_t::add(const uint8_t *text, uint32_t size, uint64_t hash, const ids_t &result) {
  if (texts.count + size > most_cached_bytes || ids.count + result.count > most_cached_bytes) {
    memset(entries, 0, entry_count * sizeof(piece_entry_t));
    texts.count = ids.count = 0;
  }
  auto make_room = [](auto *array, uint32_t more) {
    uint32_t needed = array->count + more;
    return needed <= array->capacity || array->reserve(needed * 2);
  };
  if (!make_room(&texts, size) || !make_room(&ids, result.count))
    return;
  entries[hash & (entry_count - 1)] = {hash, texts.count, size, ids.count, result.count};
  memcpy(texts.data + texts.count, text, size);
  if (result.count)
    memcpy(ids.data + ids.count, result.data, result.count * sizeof(uint32_t));
  texts.count += size;
  ids.count += result.count;
}

void piece_cache_t::release() {
  free(entries);
  texts.release();
  ids.release();
}

void piece_model_t::release() {
  byte_pairs.symbols.release();
  byte_pairs.heap.release();
  paths.release();
  ids.release();
  cache.release();
}

bool put_byte_tokens(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                     ids_t *ids, bool *all) {
  *all = tokenizer.byte_fallback;
  for (uint32_t i = 0; i < size && *all; ++i)
    *all = tokenizer.byte_tokens[text[i]] >= 0;
  for (uint32_t i = 0; i < size && *all; ++i)
    if (!ids->push((uint32_t)tokenizer.byte_tokens[text[i]]))
      return false;
  return true;
}

bool piece_model_t::encode(const uint8_t *text, uint32_t size) {
  uint64_t hash = 0;
  bool cached = size <= longest_cached && cache.entry_count != 0;
  if (cached || size <= tokenizer.longest_token)
    hash = hash_bytes(text, size);
  if (size <= tokenizer.longest_token) {
    uint32_t slot = vocabulary_slot(tokenizer, text, size, hash);
    if (slot != no_id && (slot & slot_direct)) {
      output.put(slot & id_mask);
      return true;
    }
  }
  if (cached) {
    if (const piece_entry_t *entry = cache.find(text, size, hash)) {
      for (uint32_t i = 0; i < entry->count; ++i)
        output.put(cache.ids[entry->first + i]);
      return true;
    }
  }
  ids.count = 0;
  bool done = tokenizer.model == model_unigram ? encode_unigram(tokenizer, text, size, &paths, &ids)
              : tokenizer.model == model_word_pieces
                  ? encode_word_pieces(tokenizer, text, size, &ids)
                  : encode_byte_pairs(tokenizer, text, size, &byte_pairs, &ids);
  if (!done)
    return false;
  for (uint32_t id : ids)
    output.put(id);
  if (cached)
    cache.add(text, size, hash, ids);
  return true;
}

} // namespace kiln
