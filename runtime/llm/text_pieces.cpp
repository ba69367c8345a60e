// Cuts text into the pieces that the model works on: finds added tokens, and splits at the matches
// of a pattern. The rules are specified in runtime/schema/tokenizer.fbs.

#include "llm/text_pieces.h"

#include "llm/pattern_search.h"
#include "llm/utf8.h"

#include <string.h>

namespace kiln {

uint32_t space_before(const uint8_t *text, uint32_t begin, uint32_t end) {
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

uint32_t space_after(const uint8_t *text, uint32_t begin, uint32_t end) {
  while (begin < end) {
    uint32_t code_point;
    uint32_t length = utf8_read(text + begin, end - begin, &code_point);
    if (!is_white_space(code_point))
      break;
    begin += length;
  }
  return begin;
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

/* Whether the last character before `at` is a word character. */
static bool word_before(const added_tokens_t &added, const uint8_t *text, uint32_t begin,
                        uint32_t at) {
  uint32_t start = at;
  while (start > begin && at - start < 4) {
    --start;
    uint32_t code_point;
    if (utf8_read(text + start, at - start, &code_point) == at - start)
      return automaton_match(*added.word, text, start, at) == at;
  }
  return false;
}

static bool word_after(const added_tokens_t &added, const uint8_t *text, uint32_t at,
                       uint32_t end) {
  return at < end && automaton_match(*added.word, text, at, end) != 0;
}

bool find_added_tokens(const added_tokens_t &added, const uint8_t *text, uint32_t begin,
                       uint32_t end, bool first, bool skip_special, array_t<piece_t> *pieces) {
  uint32_t done = begin; // everything before is in a piece
  auto rest = [&](uint32_t until) {
    return done >= until || pieces->push({done, until, no_id, first && done == begin});
  };
  for (uint32_t at = begin; added.count != 0;) {
    while (at < end && added.first[text[at]] == added.first[text[at] + 1])
      ++at;
    if (at >= end)
      break;
    const added_token_t *token = longest_at(added, text, at, end);
    if (!token) {
      ++at; // a token's text begins a character, so that no match begins inside one
      continue;
    }
    uint32_t start = at, stop = at + token->text.size;
    at = stop;
    if (skip_special && token->special)
      continue;
    if (token->single_word &&
        (word_before(added, text, begin, start) || word_after(added, text, stop, end)))
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

/* ---- Splitting ---------------------------------------------------------------------------- */

/* Takes the matches and gaps of one piece in order and makes pieces of them. */
struct splitter_t {
  const text_step_t &step;
  const piece_t &piece;
  piece_sink_t sink;
  piece_t held; /* not yet pushed, because the next part may join it */
  bool holding;
  bool previous_match; /* the part before was a match */

  bool flush() {
    bool taken = !holding || sink.take(sink.user, held);
    holding = false;
    return taken;
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

bool split_piece(const text_step_t &step, const uint8_t *text, const piece_t &piece,
                 piece_sink_t sink) {
  pattern_search_t search;
  splitter_t splitter = {step, piece, sink, {}, false, false};
  bool done =
      search.begin(*static_cast<const automaton_t *>(step.table), text, piece.begin, piece.end);
  uint32_t gap = piece.begin, at = piece.begin, stop;
  while (done && at < piece.end) {
    done = search.next(&at, &stop);
    if (!done || stop == 0)
      break;
    done = (gap == at || splitter.add(gap, at, false)) && splitter.add(at, stop, true);
    gap = at = stop;
  }
  search.release();
  return done && (gap >= piece.end || splitter.add(gap, piece.end, false)) && splitter.flush();
}

} // namespace kiln
