// Cuts text into the pieces that byte-pair encoding works on: finds added tokens, and runs the
// steps (prepend, replace, split) that normalizers and pre-tokenizers were compiled to. What a step
// does is specified in runtime/schema/tokenizer.fbs.

#include "llm/text_pieces.h"

#include "llm/utf8.h"

#include <string.h>

namespace kiln {

bool append_bytes(pieces_t *pieces, const uint8_t *data, uint32_t size) {
  array_t<uint8_t> *array = &pieces->text;
  uint32_t needed;
  if (!checked_add(array->count, size, &needed) || needed > pieces->limit)
    return false;
  if (needed > array->capacity && !array->reserve(needed < 256 ? 256 : needed + needed / 2))
    return false;
  if (size)
    memcpy(array->data + array->count, data, size);
  array->count = needed;
  return true;
}

/* ---- Added tokens ------------------------------------------------------------------------ */

/* The longest added token that begins at `begin`, or NULL. The candidates, sorted by text, are
 * narrowed byte by byte. */
static const added_token_t *longest_at(const added_tokens_t &added, const uint8_t *text,
                                       uint32_t begin, uint32_t end) {
  uint32_t low = added.first[text[begin]], high = added.first[text[begin] + 1];
  const added_token_t *longest = nullptr;
  for (uint32_t depth = 1; low < high; ++depth) {
    // All candidates agree with the text in their first `depth` bytes.
    if (added.tokens[low].text.size == depth)
      longest = &added.tokens[low++];
    if (begin + depth >= end)
      break;
    uint8_t wanted = text[begin + depth];
    // Tokens of the range are longer than `depth`; find those that go on with the wanted byte.
    auto bound = [&](uint32_t limit) {
      uint32_t from = low, to = high;
      while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (added.tokens[middle].text[depth] < limit)
          from = middle + 1;
        else
          to = middle;
      }
      return from;
    };
    uint32_t next_low = bound(wanted);
    high = bound(wanted + 1u);
    low = next_low;
  }
  return longest;
}

/* Where the white space that ends at `end` begins. */
static uint32_t space_before(const uint8_t *text, uint32_t begin, uint32_t end) {
  while (end > begin) {
    uint32_t start = end - 1;
    while (start > begin && end - start < 4 && (text[start] & 0xC0) == 0x80)
      --start;
    uint32_t code_point;
    if (utf8_read(text + start, end - start, &code_point) != end - start ||
        !is_white_space(code_point))
      break;
    end = start;
  }
  return end;
}

static uint32_t space_after(const uint8_t *text, uint32_t begin, uint32_t end) {
  while (begin < end) {
    uint32_t code_point;
    uint32_t length = utf8_read(text + begin, end - begin, &code_point);
    if (!is_white_space(code_point))
      break;
    begin += length;
  }
  return begin;
}

bool find_added_tokens(const added_tokens_t &added, const uint8_t *text, uint32_t begin,
                       uint32_t end, bool first, bool skip_special, array_t<piece_t> *pieces) {
  uint32_t done = begin; // everything before is in a piece
  auto rest = [&](uint32_t until) {
    return done >= until || pieces->push({done, until, no_id, first && done == begin});
  };
  for (uint32_t at = begin; at < end && added.count != 0;) {
    const added_token_t *token = longest_at(added, text, at, end);
    if (!token) {
      ++at; // a token's text begins a character, so that no match begins inside one
      continue;
    }
    uint32_t start = at, stop = at + token->text.size;
    at = stop;
    if (skip_special && token->special)
      continue;
    if (token->lstrip) {
      start = space_before(text, begin, start);
      start = start < done ? done : start;
    }
    if (token->rstrip)
      stop = space_after(text, stop, end);
    if (!rest(start) || !pieces->push({start, stop, token->id, false}))
      return false;
    done = stop;
  }
  return rest(end);
}

/* ---- Steps ------------------------------------------------------------------------------- */

static bool prepend(const text_step_t &step, const pieces_t &from, pieces_t *to) {
  for (const piece_t &piece : from.pieces) {
    uint32_t size = piece.end - piece.begin, begin = to->text.count;
    const uint8_t *text = from.text.data + piece.begin;
    bool present = size >= step.text.size && step.text.size != 0 &&
                   memcmp(text, step.text.data, step.text.size) == 0;
    bool wanted = piece.id == no_id && size != 0 &&
                  (step.when == prepend_always ||
                   (!present && (step.when == prepend_unless_present || piece.first)));
    if ((wanted && !append_bytes(to, step.text.data, step.text.size)) ||
        !append_bytes(to, text, size) ||
        !to->pieces.push({begin, to->text.count, piece.id, piece.first}))
      return false;
  }
  return true;
}

static bool replace(const text_step_t &step, const pieces_t &from, pieces_t *to) {
  const uint8_t *text = from.text.data;
  for (const piece_t &piece : from.pieces) {
    uint32_t begin = to->text.count, copied = piece.begin;
    for (uint32_t at = piece.begin; at < piece.end && piece.id == no_id;) {
      uint32_t stop = automaton_match(*step.automaton, text, at, piece.end);
      if (stop == 0) {
        uint32_t code_point;
        at += utf8_read(text + at, piece.end - at, &code_point);
        continue;
      }
      if (!append_bytes(to, text + copied, at - copied) ||
          !append_bytes(to, step.text.data, step.text.size))
        return false;
      copied = at = stop;
    }
    if (!append_bytes(to, text + copied, piece.end - copied) ||
        !to->pieces.push({begin, to->text.count, piece.id, piece.first}))
      return false;
  }
  return true;
}

/* Takes the matches and gaps of one piece in order and makes pieces of them. */
struct splitter_t {
  const text_step_t &step;
  const piece_t &piece;
  array_t<piece_t> *pieces;
  piece_t held; /* not yet pushed, because the next part may join it */
  bool holding;
  bool previous_match; /* the part before was a match */

  bool flush() {
    bool pushed = !holding || pieces->push(held);
    holding = false;
    return pushed;
  }

  bool add(uint32_t begin, uint32_t end, bool match) {
    match ^= step.invert;
    bool joins = false;
    switch (step.behavior) {
    case split_removed:
      if (match)
        return true;
      break;
    case split_isolated:
      break;
    case split_merged_with_previous:
      joins = match && !previous_match;
      break;
    case split_merged_with_next:
      joins = !match && previous_match;
      break;
    case split_contiguous:
      joins = match == previous_match;
      break;
    }
    previous_match = match;
    if (joins && holding) {
      held.end = end;
      return true;
    }
    if (!flush())
      return false;
    held = {begin, end, no_id, piece.first && begin == piece.begin};
    holding = true;
    return true;
  }
};

static bool split(const text_step_t &step, const pieces_t &from, array_t<piece_t> *to) {
  const uint8_t *text = from.text.data;
  for (const piece_t &piece : from.pieces) {
    if (piece.id != no_id) {
      if (!to->push(piece))
        return false;
      continue;
    }
    splitter_t splitter = {step, piece, to, {}, false, false};
    uint32_t gap = piece.begin;
    for (uint32_t at = piece.begin; at < piece.end;) {
      uint32_t stop = automaton_match(*step.automaton, text, at, piece.end);
      if (stop == 0) {
        uint32_t code_point;
        at += utf8_read(text + at, piece.end - at, &code_point);
        continue;
      }
      if ((gap < at && !splitter.add(gap, at, false)) || !splitter.add(at, stop, true))
        return false;
      gap = at = stop;
    }
    if ((gap < piece.end && !splitter.add(gap, piece.end, false)) || !splitter.flush())
      return false;
  }
  return true;
}

bool apply_text_step(const text_step_t &step, pieces_t *from, pieces_t *to) {
  to->text.count = 0;
  to->pieces.count = 0;
  bool done = step.kind == step_split     ? split(step, *from, &to->pieces)
              : step.kind == step_replace ? replace(step, *from, to)
                                          : prepend(step, *from, to);
  if (!done)
    return false;
  array_t<piece_t> pieces = from->pieces;
  from->pieces = to->pieces;
  to->pieces = pieces;
  if (step.kind != step_split) {
    array_t<uint8_t> text = from->text;
    from->text = to->text;
    to->text = text;
  }
  return true;
}

} // namespace kiln
