// Unigram encoding (Kudo, 2018): of all ways to cut a piece into tokens the one whose scores (log
// probabilities) have the highest sum, by dynamic programming over its characters. Order and
// rounding are those of the source libraries, so that near ties go the same way.

#include "llm/piece_model.h"
#include "llm/utf8.h"

namespace kiln {
namespace {

/* Sums of single precision are kept above its negative, so that they stay precise in long texts. */
constexpr double max_sum = 100000;

struct lattice_t {
  const kiln_tokenizer &tokenizer;
  const uint8_t *text;
  uint32_t size;
  path_t *paths; /* [size + 1] */

  double add(double sum, double score) const {
    double result = sum + score;
    return tokenizer.single_precision ? (double)(float)result : result;
  }
  void offer(uint32_t end, double sum, uint32_t begin, uint32_t id) {
    path_t &path = paths[end];
    if (path.id == no_id || sum > path.sum)
      path = {sum, begin, id};
  }
  /* Makes the sum at `begin` 0 and leaves all differences as they are. */
  void subtract(uint32_t begin, uint32_t reached) {
    double sum = paths[begin].sum;
    for (uint32_t i = begin; i <= reached; ++i)
      paths[i].sum = add(paths[i].sum, -sum);
  }
  void fill();
};

void lattice_t::fill() {
  const trie_t &trie = *tokenizer.word_trie;
  constexpr uint32_t unknown = id_mask;
  paths[0] = {0, 0, unknown};
  for (uint32_t i = 1; i <= size; ++i)
    paths[i] = {0, 0, no_id};
  uint32_t length, reached = 0; // the last position with a path
  for (uint32_t begin = 0; begin < size; begin += length) {
    uint32_t code_point;
    length = utf8_read(text + begin, size - begin, &code_point);
    if (tokenizer.single_precision && paths[begin].sum < -max_sum)
      subtract(begin, reached);
    double sum = paths[begin].sum;
    bool single = false;
    uint32_t node = 0;
    for (uint32_t at = begin; at < size && trie_step(trie, &node, text[at] + 1u);) {
      ++at;
      uint32_t id = trie_value(trie, node);
      if (id == no_id)
        continue;
      reached = at > reached ? at : reached;
      offer(at, add(sum, tokenizer.scores[id]), begin, id);
      single |= at == begin + length;
    }
    reached = begin + length > reached ? begin + length : reached;
    if (!single)
      offer(begin + length, add(sum, tokenizer.unk_score), begin, unknown);
  }
}

} // namespace

bool encode_unigram(const kiln_tokenizer &tokenizer, const uint8_t *text, uint32_t size,
                    array_t<path_t> *paths, ids_t *ids) {
  if (!paths->reserve(size + 1))
    return false;
  lattice_t lattice = {tokenizer, text, size, paths->data};
  lattice.fill();
  // Backwards, turning each path's `begin` into the end of the token that follows.
  uint32_t next = size;
  for (uint32_t end = size; end > 0;) {
    uint32_t begin = paths->data[end].begin;
    paths->data[end].begin = next;
    next = end;
    end = begin;
  }
  uint32_t begin = 0;
  while (begin < size) {
    uint32_t stop = next;
    uint32_t id = paths->data[stop].id;
    next = paths->data[stop].begin;
    if (id != id_mask && (int32_t)id != tokenizer.unk) {
      if (!ids->push(id))
        return false;
      begin = stop;
      continue;
    }
    while (tokenizer.fuse_unk && stop < size &&
           (paths->data[next].id == id_mask || (int32_t)paths->data[next].id == tokenizer.unk)) {
      stop = next;
      next = paths->data[stop].begin;
    }
    bool all;
    if (!put_byte_tokens(tokenizer, text + begin, stop - begin, ids, &all) ||
        (!all && tokenizer.unk >= 0 && !ids->push((uint32_t)tokenizer.unk)))
      return false;
    begin = stop;
  }
  return true;
}

} // namespace kiln
