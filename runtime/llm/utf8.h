/* Reading UTF-8 that may be broken. */
#ifndef KILN_LLM_UTF8_H
#define KILN_LLM_UTF8_H

#include <stdint.h>

namespace kiln {

constexpr uint32_t replacement_character = 0xFFFD;

/* Reads one code point from the `size` > 0 bytes at `text` and returns its length in bytes. A byte
 * that begins no valid sequence is U+FFFD, one byte long. */
inline uint32_t utf8_read(const uint8_t *text, uint32_t size, uint32_t *code_point) {
  uint32_t lead = text[0];
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  }
  uint32_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  *code_point = replacement_character;
  if (length == 0 || length > size)
    return 1;
  uint32_t value = lead & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if ((text[i] & 0xC0) != 0x80)
      return 1;
    value = value << 6 | (text[i] & 0x3F);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return 1;
  *code_point = value;
  return length;
}

/* Writes a code point and returns its length in bytes, at most 4. */
inline uint32_t utf8_write(uint32_t code_point, uint8_t *text) {
  if (code_point < 0x80) {
    text[0] = (uint8_t)code_point;
    return 1;
  }
  uint32_t length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
  for (uint32_t i = length - 1; i > 0; --i) {
    text[i] = (uint8_t)(0x80 | (code_point & 0x3F));
    code_point >>= 6;
  }
  text[0] = (uint8_t)((0xF00u >> length) | code_point);
  return length;
}

/* The property White_Space. */
inline bool is_white_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

} // namespace kiln

#endif /* KILN_LLM_UTF8_H */
