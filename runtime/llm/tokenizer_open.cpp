// Opens the tokenizer section: verifies the flatbuffer, then every index and range in its tables,
// so that encoding and decoding need no further checks. An error names the table and the entry.

#include "llm/tokenizer.h"

#include "core/checked.h"
#include "core/error.h"
#include "kiln/artifact.h"

#include "tokenizer_generated.h"

#include <stdlib.h>
#include <string.h>

namespace kiln {
namespace {

constexpr uint32_t max_tokens = 1u << 24;
constexpr uint32_t max_steps = 64;
constexpr uint32_t max_automata = 128;
constexpr uint64_t max_piece = 16u << 20;

template <typename T> span_t<T> span(const flatbuffers::Vector<T> *vector) {
  return vector ? span_t<T>{vector->data(), vector->size()} : span_t<T>{nullptr, 0};
}

/* What the checks share; each returns false after writing the error. */
struct opening_t {
  kiln_tokenizer *tokenizer;
  const schema::Tokenizer *source;
  kiln_error *error;
  mutable kiln_status_t status;

  bool corrupt(const char *what, uint32_t index) const {
    status = fail(error, KILN_CORRUPT, "tokenizer section: %s (entry %u)", what, index);
    return false;
  }

  /* Offsets of `count` runs inside `limit` entries. */
  bool check_offsets(span_t<uint32_t> offsets, uint32_t count, uint32_t limit,
                     const char *name) const {
    if (offsets.size != count + 1 || offsets[0] != 0 || offsets[count] != limit)
      return corrupt(name, 0);
    for (uint32_t i = 0; i < count; ++i)
      if (offsets[i] > offsets[i + 1])
        return corrupt(name, i);
    return true;
  }

  bool check_ids(span_t<uint32_t> ids, const char *name) const {
    for (uint32_t i = 0; i < ids.size; ++i)
      if (ids[i] >= tokenizer->size)
        return corrupt(name, i);
    return true;
  }

  bool read_automaton(const schema::Automaton &from, uint32_t index, automaton_t *to) const;
  bool read_automata() const;
  bool read_steps(const flatbuffers::Vector<flatbuffers::Offset<schema::TextStep>> &from,
                  bool may_split, text_step_t **steps, uint32_t *count) const;
  bool read_added(const flatbuffers::Vector<flatbuffers::Offset<schema::AddedToken>> &from,
                  added_tokens_t *to) const;
  bool read_vocabulary() const;
  bool read_merges() const;
  bool read_decoder() const;
  bool read_all() const;
  template <typename T> bool allocate(uint32_t count, T **result) const {
    *result = static_cast<T *>(calloc(count ? count : 1, sizeof(T)));
    if (!*result)
      status = fail(error, KILN_OUT_OF_MEMORY, "a tokenizer table of %u entries", count);
    return *result != nullptr;
  }
};

bool opening_t::read_automaton(const schema::Automaton &from, uint32_t index,
                               automaton_t *to) const {
  span_t<uint32_t> starts = span(from.range_starts());
  bytes_t classes = span(from.range_classes()), ascii = span(from.ascii_classes());
  span_t<uint16_t> transitions = span(from.transitions());
  uint32_t class_count = from.class_count();
  if (class_count < 1 || class_count > 255 || starts.size == 0 || starts.size != classes.size ||
      starts[0] != 0 || ascii.size != 128)
    return corrupt("an automaton's classes do not fit together", index);
  for (uint32_t i = 0; i < starts.size; ++i)
    if ((i > 0 && starts[i] <= starts[i - 1]) || classes[i] >= class_count)
      return corrupt("an automaton's ranges are not ascending or have no class", index);
  for (uint32_t i = 0; i < ascii.size; ++i)
    if (ascii[i] >= class_count)
      return corrupt("an automaton's range has no class", index);
  uint32_t columns = class_count + 1;
  uint32_t states = transitions.size / columns;
  if (states < 2 || states > 0x8000 || transitions.size % columns != 0)
    return corrupt("an automaton's transitions do not fill a table", index);
  for (uint32_t i = 0; i < transitions.size; ++i)
    if ((transitions[i] & 0x7FFFu) >= states)
      return corrupt("an automaton's transition leads to no state", index);
  for (uint32_t i = 0; i < columns; ++i)
    if (transitions[columns + i] & 0x8000u)
      return corrupt("an automaton matches the empty text", index);
  *to = {starts, classes.data, ascii.data, transitions.data, class_count};
  return true;
}

bool opening_t::read_automata() const {
  const auto &from = *source->automata();
  if (from.size() > max_automata)
    return corrupt("too many automata", from.size());
  if (!allocate(from.size(), &tokenizer->automata))
    return false;
  for (uint32_t i = 0; i < from.size(); ++i)
    if (!read_automaton(*from.Get(i), i, &tokenizer->automata[i]))
      return false;
  return true;
}

bool opening_t::read_steps(const flatbuffers::Vector<flatbuffers::Offset<schema::TextStep>> &from,
                           bool may_split, text_step_t **steps, uint32_t *count) const {
  if (from.size() > max_steps)
    return corrupt("too many text steps", from.size());
  if (!allocate(from.size(), steps))
    return false;
  *count = from.size();
  for (uint32_t i = 0; i < from.size(); ++i) {
    const schema::TextStep &step = *from.Get(i);
    text_step_t &to = (*steps)[i];
    if (step.kind() > schema::TextStepKind_MAX || step.when() > schema::PrependWhen_MAX ||
        step.behavior() > schema::SplitBehavior_MAX)
      return corrupt("a text step of unknown kind", i);
    if (step.kind() == schema::TextStepKind_split && !may_split)
      return corrupt("a split among the steps of the normalizer", i);
    if (step.kind() != schema::TextStepKind_prepend) {
      if (step.automaton() >= source->automata()->size())
        return corrupt("a text step without its automaton", i);
      to.automaton = &tokenizer->automata[step.automaton()];
    }
    to.kind = step.kind();
    to.when = step.when();
    to.behavior = step.behavior();
    to.invert = step.invert();
    to.text = span(step.text());
  }
  return true;
}

int compare(bytes_t a, bytes_t b) {
  uint32_t common = a.size < b.size ? a.size : b.size;
  int order = common ? memcmp(a.data, b.data, common) : 0;
  return order ? order : a.size < b.size ? -1 : a.size > b.size;
}

bool opening_t::read_added(const flatbuffers::Vector<flatbuffers::Offset<schema::AddedToken>> &from,
                           added_tokens_t *to) const {
  if (!allocate(from.size(), &to->tokens))
    return false;
  to->count = from.size();
  for (uint32_t i = 0; i < from.size(); ++i) {
    const schema::AddedToken &token = *from.Get(i);
    added_token_t &added = to->tokens[i];
    added = {span(token.text()), token.id(), token.special(), token.lstrip(), token.rstrip()};
    if (added.text.size == 0 || added.id >= tokenizer->size)
      return corrupt("an added token without text or outside the vocabulary", i);
    if (i > 0 && compare(to->tokens[i - 1].text, added.text) >= 0)
      return corrupt("added tokens are not in order", i);
    ++to->first[added.text[0] + 1];
  }
  for (uint32_t byte = 0; byte < 256; ++byte)
    to->first[byte + 1] += to->first[byte];
  return true;
}

bool opening_t::read_vocabulary() const {
  span_t<uint32_t> offsets = span(source->token_offsets());
  bytes_t bytes = span(source->token_bytes());
  if (offsets.size < 2 || offsets.size - 1 > max_tokens)
    return corrupt("expected 1 to 16777216 tokens", offsets.size);
  uint32_t size = offsets.size - 1;
  if (!check_offsets(offsets, size, bytes.size, "token_offsets are not ascending"))
    return false;
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
  if (table.size == 0 || (table.size & (table.size - 1)) != 0)
    return corrupt("the vocabulary's slots are not a power of two", table.size);
  bool empty = false;
  for (uint32_t i = 0; i < table.size; ++i) {
    empty |= table[i] == no_id;
    if (table[i] != no_id && table[i] >= size)
      return corrupt("a vocabulary slot holds no token", i);
  }
  if (!empty)
    return corrupt("the vocabulary has no empty slot", 0);
  tokenizer->vocabulary = table;

  tokenizer->byte_level = source->byte_level();
  tokenizer->ignore_merges = source->ignore_merges();
  tokenizer->byte_fallback = source->byte_fallback();
  tokenizer->fuse_unk = source->fuse_unk();
  tokenizer->unk = source->unk();
  if (tokenizer->unk < -1 || (tokenizer->unk >= 0 && (uint32_t)tokenizer->unk >= size))
    return corrupt("unk is outside the vocabulary", 0);
  if (tokenizer->byte_fallback) {
    span_t<int32_t> byte_tokens = span(source->byte_tokens());
    if (byte_tokens.size != 256)
      return corrupt("expected 256 byte_tokens", byte_tokens.size);
    for (uint32_t i = 0; i < 256; ++i)
      if (byte_tokens[i] < -1 || (byte_tokens[i] >= 0 && (uint32_t)byte_tokens[i] >= size))
        return corrupt("a byte token outside the vocabulary", i);
    tokenizer->byte_tokens = byte_tokens.data;
  }
  tokenizer->prefix = span(source->prefix());
  tokenizer->suffix = span(source->suffix());
  return check_ids(tokenizer->prefix, "a prefix token outside the vocabulary") &&
         check_ids(tokenizer->suffix, "a suffix token outside the vocabulary");
}

bool opening_t::read_merges() const {
  static_assert(sizeof(merge_t) == sizeof(schema::Merge), "read in place");
  const auto *merges = source->merges();
  span_t<uint32_t> offsets = span(source->merge_offsets());
  if (!check_offsets(offsets, tokenizer->size, merges->size(), "merge_offsets are not ascending"))
    return false;
  const merge_t *data = reinterpret_cast<const merge_t *>(merges->Data());
  for (uint32_t left = 0; left < tokenizer->size; ++left)
    for (uint32_t i = offsets[left]; i < offsets[left + 1]; ++i) {
      if (data[i].right >= tokenizer->size || data[i].merged >= tokenizer->size)
        return corrupt("a merge outside the vocabulary", i);
      if (i > offsets[left] && data[i - 1].right >= data[i].right)
        return corrupt("merges are not in order", i);
    }
  tokenizer->merge_offsets = offsets.data;
  tokenizer->merges = data;
  return true;
}

bool opening_t::read_decoder() const {
  const schema::Decoder &decoder = *source->decoder();
  tokenizer->separator = span(decoder.separator());
  tokenizer->decode_byte_fallback = decoder.byte_fallback();
  tokenizer->marker = span(decoder.marker());
  tokenizer->marker_text = span(decoder.marker_text());
  tokenizer->first_marker_vanishes = decoder.first_marker_vanishes();
  tokenizer->strip_left = decoder.strip_left();
  tokenizer->strip_byte = decoder.strip_byte();

  uint64_t longest = 1;
  for (uint32_t id = 0; id < tokenizer->size; ++id) {
    uint64_t size = token_text(*tokenizer, id).size;
    longest = size > longest ? size : longest;
  }
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
  if (source->version() != 1) {
    status = fail(error, KILN_UNSUPPORTED_VERSION,
                  "tokenizer section: expected version 1, found %u", source->version());
    return false;
  }
  return read_automata() &&
         read_steps(*source->normalizer(), false, &tokenizer->normalizer,
                    &tokenizer->normalizer_count) &&
         read_steps(*source->pre_tokenizer(), true, &tokenizer->pre_tokenizer,
                    &tokenizer->pre_tokenizer_count) &&
         read_vocabulary() && read_added(*source->added_tokens(), &tokenizer->added) &&
         read_added(*source->normalized_added_tokens(), &tokenizer->normalized_added) &&
         read_merges() && read_decoder();
}

} // namespace
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
  free(tokenizer->automata);
  free(tokenizer->normalizer);
  free(tokenizer->pre_tokenizer);
  free(tokenizer->added.tokens);
  free(tokenizer->normalized_added.tokens);
  free(tokenizer);
}
