// Opens the tokenizer section: verifies the flatbuffer, then every index and range in its tables,
// so that encoding and decoding need no further checks. An error names the table and the entry.

#include "llm/tokenizer_opening.h"

#include "core/checked.h"
#include "kiln/artifact.h"

namespace kiln {

constexpr uint32_t max_tokens = id_mask;
constexpr uint64_t max_piece = 16u << 20;

bool opening_t::read_vocabulary() const {
  span_t<uint32_t> offsets = span(source->token_offsets());
  bytes_t bytes = span(source->token_bytes());
  if (offsets.size < 2 || offsets.size - 1 > max_tokens)
    return corrupt("expected 1 to 1048575 tokens", offsets.size);
  uint32_t size = offsets.size - 1;
  if (offsets[0] != 0 || offsets[size] != bytes.size)
    return corrupt("token_offsets do not span token_bytes", 0);
  for (uint32_t i = 0; i < size; ++i) {
    if (offsets[i] > offsets[i + 1])
      return corrupt("token_offsets are not ascending", i);
    uint32_t length = offsets[i + 1] - offsets[i];
    tokenizer->longest_token =
        length > tokenizer->longest_token ? length : tokenizer->longest_token;
  }
  tokenizer->size = size;
  tokenizer->token_offsets = offsets.data;
  tokenizer->token_bytes = bytes.data;

  tokenizer->special_ids = span(source->special_ids());
  if (!check_ids(tokenizer->special_ids, "a special token outside the vocabulary"))
    return false;
  for (uint32_t i = 1; i < tokenizer->special_ids.size; ++i)
    if (tokenizer->special_ids[i - 1] >= tokenizer->special_ids[i])
      return corrupt("special_ids are not ascending", i);

  span_t<uint32_t> table = span(source->vocabulary());
  bool empty = false;
  for (uint32_t i = 0; i < table.size; ++i) {
    empty |= table[i] == UINT32_MAX;
    if (table[i] != UINT32_MAX && (table[i] & id_mask) >= size)
      return corrupt("a vocabulary slot holds no token", i);
  }
  if (!empty)
    return corrupt("the vocabulary has no empty slot", 0);
  tokenizer->vocabulary = table;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint8_t text = (uint8_t)byte;
    tokenizer->byte_units[byte] = vocabulary_find(*tokenizer, &text, 1);
  }
  tokenizer->prefix = span(source->prefix());
  tokenizer->suffix = span(source->suffix());
  return check_ids(tokenizer->prefix, "a prefix token outside the vocabulary") &&
         check_ids(tokenizer->suffix, "a suffix token outside the vocabulary");
}

bool opening_t::read_merges() const {
  tokenizer->merges = span(source->merges());
  tokenizer->merged = span(source->merged());
  span_t<uint32_t> priorities = span(source->priorities());
  tokenizer->one_rank_each = source->one_rank_each();
  if (priorities.data && priorities.size != tokenizer->merged.size)
    return corrupt("priorities are not as many as merged", priorities.size);
  tokenizer->priorities = priorities.data;
  if (!check_ids(tokenizer->merged, "a merge gives no token") ||
      !check_aligned(tokenizer->merges, "the merges are not aligned"))
    return false;
  bool empty = false;
  for (uint32_t i = 0; i < tokenizer->merges.size; ++i) {
    uint64_t slot = tokenizer->merges[i];
    empty |= slot == UINT64_MAX;
    if (slot != UINT64_MAX && slot >> 40 >= tokenizer->merged.size)
      return corrupt("a merge has no rank", i);
  }
  return empty || corrupt("the merges have no empty slot", 0);
}

/* A trie whose values are ids. */
bool opening_t::read_word_trie(uint32_t index, const trie_t **trie) const {
  if (index >= source->tries()->size())
    return corrupt("the model has no trie", index);
  *trie = &tokenizer->tries[index];
  span_t<uint32_t> units = (*trie)->units;
  for (uint32_t i = 0; i < units.size; ++i)
    if (units[i] >> 23 == 0 && (units[i] & 0x7FFFFF) >= tokenizer->size)
      return corrupt("a trie holds no token", i);
  return true;
}

bool opening_t::read_model() const {
  tokenizer->model = source->model();
  tokenizer->byte_level = source->byte_level();
  tokenizer->byte_fallback = source->byte_fallback();
  tokenizer->fuse_unk = source->fuse_unk();
  tokenizer->unk = source->unk();
  if (tokenizer->unk < -1 || (tokenizer->unk >= 0 && (uint32_t)tokenizer->unk >= tokenizer->size))
    return corrupt("unk is outside the vocabulary", 0);
  if (tokenizer->byte_fallback) {
    span_t<int32_t> byte_tokens = span(source->byte_tokens());
    if (byte_tokens.size != 256)
      return corrupt("expected 256 byte_tokens", byte_tokens.size);
    for (uint32_t i = 0; i < 256; ++i)
      if (byte_tokens[i] < -1 ||
          (byte_tokens[i] >= 0 && (uint32_t)byte_tokens[i] >= tokenizer->size))
        return corrupt("a byte token outside the vocabulary", i);
    tokenizer->byte_tokens = byte_tokens.data;
  }
  switch (source->model()) {
  case schema::ModelKind_byte_pairs:
    return read_merges();
  case schema::ModelKind_unigram: {
    span_t<double> scores = span(source->scores());
    if (scores.size != tokenizer->size)
      return corrupt("expected a score for each token", scores.size);
    if (!check_aligned(scores, "the scores are not aligned"))
      return false;
    tokenizer->scores = scores.data;
    tokenizer->unk_score = source->unk_score();
    tokenizer->single_precision = source->single_precision();
    return read_word_trie(source->word_trie(), &tokenizer->word_trie);
  }
  case schema::ModelKind_word_pieces:
    tokenizer->max_word_characters = source->max_word_characters();
    return read_word_trie(source->word_trie(), &tokenizer->word_trie) &&
           read_word_trie(source->continuation_trie(), &tokenizer->continuation_trie);
  }
  return corrupt("a model of unknown kind", source->model());
}

bool opening_t::read_decoder() const {
  const schema::Decoder &decoder = *source->decoder();
  tokenizer->continuation = span(decoder.continuation());
  tokenizer->glued_ids = span(decoder.glued_ids());
  tokenizer->separator = span(decoder.separator());
  tokenizer->decode_byte_fallback = decoder.byte_fallback();
  tokenizer->marker = span(decoder.marker());
  tokenizer->marker_text = span(decoder.marker_text());
  tokenizer->first_marker_vanishes = decoder.first_marker_vanishes();
  tokenizer->strip_left = decoder.strip_left();
  tokenizer->strip_byte = decoder.strip_byte();

  uint64_t longest = tokenizer->longest_token;
  uint64_t markers = tokenizer->marker.size ? longest / tokenizer->marker.size : 0;
  uint64_t replaced, piece;
  if (!checked_mul<uint64_t>(markers, tokenizer->marker_text.size, &replaced) ||
      !checked_add<uint64_t>(replaced, longest, &piece) ||
      !checked_add<uint64_t>(piece, tokenizer->separator.size, &piece) || piece > max_piece)
    return corrupt("a token decodes to more than 16 MiB", 0);
  // Every byte may become U+FFFD, and up to three bytes were held back.
  tokenizer->max_piece_bytes = (size_t)(3 * (piece + 3) + 1);
  return true;
}

bool opening_t::read_all() const {
  if (source->version() < 2 || source->version() > 3) {
    status = fail(error, KILN_UNSUPPORTED_VERSION,
                  "tokenizer section: expected version 2 or 3, found %u", source->version());
    return false;
  }
  return read_tables() && read_vocabulary() && read_text() && read_model() && read_decoder();
}

} // namespace kiln

using namespace kiln;

kiln_status_t kiln_tokenizer_open_memory(const void *data, size_t size_bytes,
                                         kiln_tokenizer_t **tokenizer, kiln_error *error) {
  if (!data || !tokenizer)
    return fail(error, KILN_INVALID_ARGUMENT, "expected bytes and a place for the tokenizer");
  if (!is_aligned(data, 8))
    return fail(error, KILN_INVALID_ARGUMENT, "tokenizer section: not aligned to 8 bytes");
  flatbuffers::Verifier verifier(static_cast<const uint8_t *>(data), size_bytes, 16);
  if (size_bytes >= FLATBUFFERS_MAX_BUFFER_SIZE || !schema::VerifyTokenizerBuffer(verifier))
    return fail(error, KILN_CORRUPT, "tokenizer section: not a tokenizer of %zu bytes", size_bytes);
  kiln_tokenizer *result = static_cast<kiln_tokenizer *>(calloc(1, sizeof(kiln_tokenizer)));
  if (!result)
    return fail(error, KILN_OUT_OF_MEMORY, "a tokenizer");
  opening_t opening = {result, schema::GetTokenizer(data), error, KILN_OK};
  if (!opening.read_all()) {
    kiln_tokenizer_close(result);
    return opening.status;
  }
  *tokenizer = result;
  return KILN_OK;
}

kiln_status_t kiln_tokenizer_open(const kiln_model_t *model, kiln_tokenizer_t **tokenizer,
                                  kiln_error *error) {
  if (!model || !tokenizer)
    return fail(error, KILN_INVALID_ARGUMENT, "expected a model and a place for the tokenizer");
  const void *data = nullptr;
  size_t size_bytes = 0;
  if (kiln_model_section(model, KILN_SECTION_TOKENIZER, &data, &size_bytes) != KILN_OK)
    return fail(error, KILN_NO_TOKENIZER, "the artifact has no tokenizer section");
  return kiln_tokenizer_open_memory(data, size_bytes, tokenizer, error);
}

void kiln_tokenizer_close(kiln_tokenizer_t *tokenizer) {
  if (!tokenizer)
    return;
  for (uint32_t i = 0; i < tokenizer->automata_count; ++i)
    free(tokenizer->automata[i].starts);
  free(tokenizer->automata);
  free(tokenizer->tries);
  free(tokenizer->maps);
  free(tokenizer->normalizations);
  free(tokenizer->rewritings);
  free(tokenizer->normalizer);
  free(tokenizer->pre_tokenizer);
  free(tokenizer->added.tokens);
  free(tokenizer->normalized_added.tokens);
  free(tokenizer);
}
