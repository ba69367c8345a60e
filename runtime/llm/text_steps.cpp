// Runs the steps that normalizers and pre-tokenizers were compiled to over all pieces of a text:
// prepend, replace, map, rewrite, strip. What each does is specified in
// runtime/schema/tokenizer.fbs.

#include "llm/text_pieces.h"

#include "llm/pattern_search.h"
#include "llm/utf8.h"

#include <string.h>

namespace kiln {

bool reserve_bytes(pieces_t *pieces, uint32_t size) {
  array_t<uint8_t> *array = &pieces->text;
  uint32_t needed;
  if (!checked_add(array->count, size, &needed) || needed > pieces->limit)
    return false;
  return needed <= array->capacity || array->reserve(needed < 256 ? 256 : needed + needed / 2);
}

bool append_bytes(pieces_t *pieces, const uint8_t *data, uint32_t size) {
  if (!reserve_bytes(pieces, size))
    return false;
  if (size)
    memcpy(pieces->text.data + pieces->text.count, data, size);
  pieces->text.count += size;
  return true;
}

namespace {

bool prepend(const text_step_t &step, const uint8_t *text, const piece_t &piece, pieces_t *to) {
  uint32_t size = piece.end - piece.begin;
  bool present = size >= step.text.size && step.text.size != 0 &&
                 memcmp(text + piece.begin, step.text.data, step.text.size) == 0;
  bool wanted = size != 0 && (step.when == prepend_always || !present) &&
                (step.when == prepend_always || step.when == prepend_unless_present || piece.first);
  if (step.when == prepend_first)
    wanted = size != 0 && piece.first;
  return (!wanted || append_bytes(to, step.text.data, step.text.size)) &&
         append_bytes(to, text + piece.begin, size);
}

bool replace(const text_step_t &step, const uint8_t *text, const piece_t &piece, pieces_t *to) {
  pattern_search_t search;
  bool done =
      search.begin(*static_cast<const automaton_t *>(step.table), text, piece.begin, piece.end);
  uint32_t copied = piece.begin, at = piece.begin, stop;
  while (done && at < piece.end) {
    done = search.next(&at, &stop);
    if (!done || stop == 0)
      break;
    done = append_bytes(to, text + copied, at - copied) &&
           append_bytes(to, step.text.data, step.text.size);
    copied = at = stop;
  }
  search.release();
  return done && append_bytes(to, text + copied, piece.end - copied);
}

bool map(const text_step_t &step, const uint8_t *text, const piece_t &piece, pieces_t *to) {
  const character_map_t &map = *static_cast<const character_map_t *>(step.table);
  for (uint32_t at = piece.begin; at < piece.end;) {
    if (!reserve_bytes(to, piece.end - at))
      return false;
    uint8_t *out = to->text.data + to->text.count;
    for (; at < piece.end && text[at] < 0x80 && map.ascii[text[at]] != 0xFF; ++at)
      *out++ = map.ascii[text[at]];
    to->text.count = (uint32_t)(out - to->text.data);
    if (at >= piece.end)
      break;
    uint32_t code_point;
    uint32_t length = utf8_read(text + at, piece.end - at, &code_point);
    uint32_t value = map.blocks[block_index(map.pages, code_point)];
    if (value ? !append_bytes(to, map.text + (value - 1) / 64, (value - 1) % 64)
              : !append_bytes(to, text + at, length))
      return false;
    at += length;
  }
  return true;
}

/* The value of the longest (or the shortest) string of the trie that begins text[begin .. end), and
 * where it ends; no_id where there is none. */
uint32_t find_prefix(const trie_t &trie, const uint8_t *text, uint32_t begin, uint32_t end,
                     bool shortest, uint32_t *stop) {
  uint32_t node = 0, found = no_id;
  for (uint32_t at = begin; at < end && trie_step(trie, &node, text[at] + 1u);) {
    uint32_t value = trie_value(trie, node);
    ++at;
    if (value == no_id)
      continue;
    found = value;
    *stop = at;
    if (shortest)
      break;
  }
  return found;
}

bool append_rewritten(const rewriting_t &rewriting, uint32_t value, pieces_t *to) {
  return append_bytes(to, rewriting.text.data + value + 1, rewriting.text[value]);
}

bool rewrite_longest(const rewriting_t &rewriting, const uint8_t *text, const piece_t &piece,
                     pieces_t *to) {
  constexpr uint8_t replacement[] = {0xEF, 0xBF, 0xBD};
  for (uint32_t at = piece.begin; at < piece.end;) {
    uint32_t value = find_prefix(*rewriting.trie, text, at, piece.end, false, &at);
    if (value != no_id) {
      if (!append_rewritten(rewriting, value, to))
        return false;
      continue;
    }
    uint32_t code_point;
    uint32_t length = utf8_read(text + at, piece.end - at, &code_point);
    bool broken = length == 1 && text[at] >= 0x80;
    if (!append_bytes(to, broken ? replacement : text + at, broken ? 3 : length))
      return false;
    at += length;
  }
  return true;
}

bool rewrite_clusters(const rewriting_t &rewriting, const uint8_t *text, const piece_t &piece,
                      pieces_t *to) {
  uint32_t unused, code_point;
  for (uint32_t at = piece.begin; at < piece.end;) {
    uint32_t stop = automaton_match(*rewriting.clusters, text, at, piece.end);
    if (stop == 0)
      stop = at + utf8_read(text + at, piece.end - at, &code_point);
    uint32_t value = no_id;
    if (stop - at < 6)
      value = find_prefix(*rewriting.trie, text, at, stop, true, &unused);
    if (value != no_id) {
      if (!append_rewritten(rewriting, value, to))
        return false;
      at = stop;
      continue;
    }
    while (at < stop) {
      uint32_t length = utf8_read(text + at, stop - at, &code_point);
      value = find_prefix(*rewriting.trie, text, at, at + length, true, &unused);
      if (value != no_id ? !append_rewritten(rewriting, value, to)
                         : !append_bytes(to, text + at, length))
        return false;
      at += length;
    }
  }
  return true;
}

bool rewrite(const text_step_t &step, const uint8_t *text, const piece_t &piece, pieces_t *to) {
  const rewriting_t &rewriting = *static_cast<const rewriting_t *>(step.table);
  return rewriting.clusters ? rewrite_clusters(rewriting, text, piece, to)
                            : rewrite_longest(rewriting, text, piece, to);
}

bool strip(const text_step_t &step, const uint8_t *text, const piece_t &piece, pieces_t *to) {
  uint32_t begin = piece.begin, end = piece.end, size = step.text.size;
  if (size == 0) {
    begin = step.left ? space_after(text, begin, end) : begin;
    end = step.right ? space_before(text, begin, end) : end;
  } else {
    auto is_there = [&](uint32_t at) { return memcmp(text + at, step.text.data, size) == 0; };
    while (step.left && end - begin >= size && is_there(begin))
      begin += size;
    while (step.right && end - begin >= size && is_there(end - size))
      end -= size;
  }
  return append_bytes(to, text + begin, end - begin);
}

bool change_piece(const text_step_t &step, const uint8_t *text, const piece_t &piece,
                  pieces_t *to) {
  if (piece.id != no_id)
    return append_bytes(to, text + piece.begin, piece.end - piece.begin);
  switch (step.kind) {
  case step_prepend:
    return prepend(step, text, piece, to);
  case step_replace:
    return replace(step, text, piece, to);
  case step_map:
    return map(step, text, piece, to);
  case step_normalize:
    return append_normalized(*static_cast<const normalization_t *>(step.table), text, piece.begin,
                             piece.end, to);
  case step_rewrite:
    return rewrite(step, text, piece, to);
  default:
    return strip(step, text, piece, to);
  }
}

bool push_piece(void *pieces, const piece_t &piece) {
  return static_cast<array_t<piece_t> *>(pieces)->push(piece);
}

template <typename T> void exchange(T *a, T *b) {
  T copy = *a;
  *a = *b;
  *b = copy;
}

} // namespace

bool apply_text_step(const text_step_t &step, pieces_t *from, pieces_t *to) {
  to->text.count = 0;
  to->pieces.count = 0;
  for (const piece_t &piece : from->pieces) {
    if (step.kind == step_split) {
      if (piece.id != no_id ? !to->pieces.push(piece)
                            : !split_piece(step, from->text.data, piece, {push_piece, &to->pieces}))
        return false;
      continue;
    }
    uint32_t begin = to->text.count;
    if (!change_piece(step, from->text.data, piece, to) ||
        !to->pieces.push({begin, to->text.count, piece.id, piece.first}))
      return false;
  }
  exchange(&from->pieces, &to->pieces);
  if (step.kind != step_split)
    exchange(&from->text, &to->text);
  return true;
}

} // namespace kiln
