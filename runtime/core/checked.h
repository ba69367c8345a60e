/* Checked arithmetic: the one place where numbers from a file or a caller are added and multiplied.
 * Each function returns false, and leaves *result unspecified, when the exact result does not fit.
 */
#ifndef KILN_CORE_CHECKED_H
#define KILN_CORE_CHECKED_H

#include <stdint.h>

namespace kiln {

template <typename T> [[nodiscard]] inline bool checked_add(T a, T b, T *result) {
  return !__builtin_add_overflow(a, b, result);
}

template <typename T> [[nodiscard]] inline bool checked_mul(T a, T b, T *result) {
  return !__builtin_mul_overflow(a, b, result);
}

/* `alignment` is a power of two. */
[[nodiscard]] inline bool checked_align(uint64_t value, uint64_t alignment, uint64_t *result) {
  bool fits = checked_add(value, alignment - 1, result);
  *result &= ~(alignment - 1);
  return fits;
}

/* Whether [offset, offset + size) lies inside [0, limit). */
[[nodiscard]] inline bool checked_range(uint64_t offset, uint64_t size, uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}

inline bool is_aligned(uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}

inline bool is_aligned(const void *pointer, uint64_t alignment) {
  return is_aligned((uint64_t)(uintptr_t)pointer, alignment);
}

} // namespace kiln

#endif /* KILN_CORE_CHECKED_H */
