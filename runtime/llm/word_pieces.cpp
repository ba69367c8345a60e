// WordPiece encoding (Schuster and Nakajima, 2012; BERT's form of it): the longest entry of the
// vocabulary that begins the word, then the longest that goes on, to the end; a word that cannot be
// cut so is unknown as a whole.

#include "llm/piece_model.h"
#include "llm/utf8.h"

namespace kiln {

/* The value of the longest string of the trie that begins text[*begin .. size), which becomes the
 * new *begin; no_id where there is none. */
static uint32_t take_longest(const trie_t &trie, const uint8_t *text, uint32_t *begin,
                             uint32_t size) {
  uint32_t node = 0, found = no_id;
  for (uint32_t at = *begin; at < size && trie_step(trie, &node, text[at] + 1u);) {
    ++at;
    uint32_t id = trie_value(trie, node);
    if (id == no_id)
      continue;
    found = id;
    *begin = at;
  }
  return found;
}

bool encode_word_pieces(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                        ids_t *ids) {
  uint32_t first = ids->count, characters = 0, code_point;
  for (uint32_t at = 0; at < size; ++characters)
    at += utf8_read(text + at, size - at, &code_point);
  bool known = characters <= tokenizer.max_word_characters;
  for (uint32_t at = 0; at < size && known;) {
    const trie_t &trie = at == 0 ? *tokenizer.word_trie : *tokenizer.continuation_trie;
    uint32_t id = take_longest(trie, text, &at, size);
    known = id != no_id;
    if (known && !ids->push(id))
      return false;
  }
  if (known)
    return true;
  ids->count = first;
  return tokenizer.unk < 0 || ids->push((uint32_t)tokenizer.unk);
}

} // namespace kiln
