// Unicode normalization (UAX #15): decomposition, canonical ordering and composition, over the
// tables of one form. Text that the form leaves alone, as nearly all is, is only copied; a run of
// other characters is worked on together with the character before it, which it may compose with.

#include "llm/text_pieces.h"

#include "llm/utf8.h"

#include <string.h>

namespace kiln {
namespace {

/* Hangul, by the Unicode standard, section 3.12. */
enum : uint32_t {
  hangul_l = 0x1100,
  hangul_v = 0x1161,
  hangul_t = 0x11A7,
  hangul_s = 0xAC00,
  hangul_l_count = 19,
  hangul_v_count = 21,
  hangul_t_count = 28,
  hangul_s_count = hangul_l_count * hangul_v_count * hangul_t_count
};

constexpr uint8_t inert = 0, other_starter = 255;

struct normalizer_t {
  const normalization_t &form;
  array_t<uint32_t> points; /* code points of a run, their classes in the upper 8 bits */
  array_t<uint32_t> sorted;
  pieces_t *to;

  uint8_t property(uint32_t code_point) const {
    return form.blocks[block_index(form.pages, code_point)];
  }
  bool push(uint32_t code_point) {
    uint32_t value = property(code_point);
    return points.push(code_point | (value == other_starter ? 0 : value) << 24);
  }

  bool decompose(const uint8_t *text, uint32_t begin, uint32_t end);
  bool order();
  void compose();
  uint32_t composed(uint32_t first, uint32_t second) const;
  bool append_points();
  bool append_run(const uint8_t *text, uint32_t begin, uint32_t end) {
    points.count = 0;
    if (!decompose(text, begin, end) || !order())
      return false;
    if (form.composes)
      compose();
    return append_points();
  }
  bool run(const uint8_t *text, uint32_t begin, uint32_t end);
};

bool normalizer_t::decompose(const uint8_t *text, uint32_t begin, uint32_t end) {
  for (uint32_t at = begin; at < end;) {
    uint32_t code_point;
    at += utf8_read(text + at, end - at, &code_point);
    uint32_t index = code_point - hangul_s;
    if (index < hangul_s_count) {
      uint32_t lv = index / hangul_t_count, t = index % hangul_t_count;
      if (!push(hangul_l + lv / hangul_v_count) || !push(hangul_v + lv % hangul_v_count) ||
          (t != 0 && !push(hangul_t + t)))
        return false;
      continue;
    }
    uint32_t value = form.map->blocks[block_index(form.map->pages, code_point)];
    if (value == 0) {
      if (!push(code_point))
        return false;
      continue;
    }
    const uint8_t *other = form.map->text + (value - 1) / 64;
    uint32_t size = (value - 1) % 64;
    for (uint32_t i = 0; i < size;) {
      i += utf8_read(other + i, size - i, &code_point);
      if (!push(code_point))
        return false;
    }
  }
  return true;
}

/* Sorts every run of marks by their classes, keeping the order of equal ones. There are few classes
 * in a run, so that each is gone through once for each class. */
bool normalizer_t::order() {
  uint32_t count = points.count;
  for (uint32_t i = 0; i < count;) {
    uint32_t begin = i;
    bool ordered = true;
    for (; i < count && points[i] >> 24 != 0; ++i)
      ordered &= i == begin || points[i - 1] >> 24 <= points[i] >> 24;
    if (i == begin)
      ++i;
    if (ordered)
      continue;
    sorted.count = 0;
    for (uint32_t done = 0; sorted.count < i - begin;) {
      uint32_t next = 256;
      for (uint32_t j = begin; j < i; ++j) {
        uint32_t mark_class = points[j] >> 24;
        next = mark_class > done && mark_class < next ? mark_class : next;
      }
      for (uint32_t j = begin; j < i; ++j)
        if (points[j] >> 24 == next && !sorted.push(points[j]))
          return false;
      done = next;
    }
    memcpy(points.data + begin, sorted.data, sorted.count * sizeof(uint32_t));
  }
  return true;
}

uint32_t normalizer_t::composed(uint32_t first, uint32_t second) const {
  if (first - hangul_l < hangul_l_count && second - hangul_v < hangul_v_count)
    return hangul_s + ((first - hangul_l) * hangul_v_count + second - hangul_v) * hangul_t_count;
  if (first - hangul_s < hangul_s_count && (first - hangul_s) % hangul_t_count == 0 &&
      second - hangul_t - 1 < hangul_t_count - 1)
    return first + second - hangul_t;
  uint32_t low = 0, high = form.compositions.size;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const composition_t &entry = form.compositions[middle];
    if (entry.first == first && entry.second == second)
      return entry.composed;
    if (entry.first < first || (entry.first == first && entry.second < second))
      low = middle + 1;
    else
      high = middle;
  }
  return 0;
}

void normalizer_t::compose() {
  constexpr uint32_t none = UINT32_MAX, point_mask = 0xFFFFFF;
  uint32_t starter = none, kept = 0, last_class = 0;
  for (uint32_t i = 0; i < points.count; ++i) {
    uint32_t point = points[i], mark_class = point >> 24;
    if (starter != none && (kept == starter + 1 || last_class < mark_class)) {
      uint32_t whole = composed(points[starter] & point_mask, point & point_mask);
      if (whole != 0) {
        points[starter] = whole;
        continue;
      }
    }
    if (mark_class == 0)
      starter = kept;
    last_class = mark_class;
    points[kept++] = point;
  }
  points.count = kept;
}

bool normalizer_t::append_points() {
  uint32_t room;
  if (!checked_mul<uint32_t>(points.count, 4, &room) || !reserve_bytes(to, room))
    return false;
  for (uint32_t point : points)
    to->text.count += utf8_write(point & 0xFFFFFF, to->text.data + to->text.count);
  return true;
}

bool normalizer_t::run(const uint8_t *text, uint32_t begin, uint32_t end) {
  uint32_t copied = begin;
  for (uint32_t at = begin, before = begin; at < end;) {
    if (text[at] < 0x80) {
      before = at++;
      continue;
    }
    uint32_t code_point;
    uint32_t length = utf8_read(text + at, end - at, &code_point);
    if (property(code_point) == inert) {
      before = code_point == replacement_character ? at + length : at;
      at += length;
      continue;
    }
    uint32_t start = form.composes ? before : at;
    for (at += length; at < end; at += length) {
      length = utf8_read(text + at, end - at, &code_point);
      if (property(code_point) == inert)
        break;
    }
    if (!append_bytes(to, text + copied, start - copied) || !append_run(text, start, at))
      return false;
    before = copied = at;
  }
  return append_bytes(to, text + copied, end - copied);
}

} // namespace

bool append_normalized(const normalization_t &form, const uint8_t *text, uint32_t begin,
                       uint32_t end, pieces_t *to) {
  normalizer_t normalizer = {form, {}, {}, to};
  bool done = normalizer.run(text, begin, end);
  normalizer.points.release();
  normalizer.sorted.release();
  return done;
}

} // namespace kiln
