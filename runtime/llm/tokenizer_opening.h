/* The opening of a tokenizer section, between the files that check its parts. */
#ifndef KILN_LLM_TOKENIZER_OPENING_H
#define KILN_LLM_TOKENIZER_OPENING_H

#include "core/checked.h"
#include "core/error.h"
#include "llm/tokenizer.h"

#include "tokenizer_generated.h"

#include <stdlib.h>

namespace kiln {

template <typename T> span_t<T> span(const flatbuffers::Vector<T> *vector) {
  return vector ? span_t<T>{vector->data(), vector->size()} : span_t<T>{nullptr, 0};
}

template <typename T> using tables_t = flatbuffers::Vector<flatbuffers::Offset<T>>;

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

  bool check_ids(span_t<uint32_t> ids, const char *name) const {
    for (uint32_t i = 0; i < ids.size; ++i)
      if (ids[i] >= tokenizer->size)
        return corrupt(name, i);
    return true;
  }

  /* The verifier checks that a vector's length is aligned, not that its elements are. */
  template <typename T> bool check_aligned(span_t<T> elements, const char *name) const {
    return elements.size == 0 || is_aligned(elements.data, alignof(T)) || corrupt(name, 0);
  }

  template <typename T> bool allocate(uint32_t count, T **result) const {
    *result = static_cast<T *>(calloc(count ? count : 1, sizeof(T)));
    if (!*result)
      status = fail(error, KILN_OUT_OF_MEMORY, "a tokenizer table of %u entries", count);
    return *result != nullptr;
  }

  /* tokenizer_open_text.cpp: what text goes through before it is encoded. */
  bool read_text() const;
  bool read_pages(span_t<uint16_t> pages, uint32_t block_entries, uint32_t index) const;
  bool read_automaton(const schema::Automaton &from, uint32_t index, automaton_t *to) const;
  bool read_pattern(const schema::Automaton &from, uint32_t index, automaton_t *to) const;
  bool check_transitions(span_t<uint16_t> transitions, uint32_t columns, uint32_t index) const;
  bool read_map(const schema::CharacterMap &from, uint32_t index, character_map_t *to) const;
  bool read_normalization(const schema::Normalization &from, uint32_t index,
                          normalization_t *to) const;
  bool read_rewriting(const schema::Rewriting &from, uint32_t index, rewriting_t *to) const;
  bool read_tables() const;
  bool read_steps(const tables_t<schema::TextStep> &from, bool may_split, text_step_t **steps,
                  uint32_t *count) const;
  bool read_added(const tables_t<schema::AddedToken> &from, added_tokens_t *to) const;

  /* tokenizer_open.cpp */
  bool read_vocabulary() const;
  bool read_merges() const;
  bool read_word_trie(uint32_t index, const trie_t **trie) const;
  bool read_model() const;
  bool read_decoder() const;
  bool read_all() const;
};

} // namespace kiln

#endif /* KILN_LLM_TOKENIZER_OPENING_H */
