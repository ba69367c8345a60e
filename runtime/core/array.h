/* A growing array of plain values for the time of opening. It never throws: push returns false when
 * memory is short. The owner calls release. */
#ifndef KILN_CORE_ARRAY_H
#define KILN_CORE_ARRAY_H

#include "core/checked.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <type_traits>

namespace kiln {

template <typename T> struct array_t {
  static_assert(std::is_trivially_copyable<T>::value, "moved by realloc");
  T *data;
  uint32_t count;
  uint32_t capacity;

  [[nodiscard]] bool reserve(uint32_t wanted) {
    if (wanted <= capacity)
      return true;
    size_t bytes;
    if (!checked_mul<size_t>(wanted, sizeof(T), &bytes))
      return false;
    void *grown = realloc(data, bytes);
    if (!grown)
      return false;
    data = static_cast<T *>(grown);
    capacity = wanted;
    return true;
  }

  [[nodiscard]] bool push(const T &value) {
    if (count == capacity) {
      uint32_t doubled;
      if (!checked_mul<uint32_t>(capacity, 2, &doubled) || !reserve(doubled < 8 ? 8 : doubled))
        return false;
    }
    data[count++] = value;
    return true;
  }

  void release() {
    free(data);
    *this = {};
  }

  T &operator[](uint32_t index) {
    assert(index < count);
    return data[index];
  }
  const T &operator[](uint32_t index) const {
    assert(index < count);
    return data[index];
  }
  T *begin() { return data; }
  T *end() { return data + count; }
  const T *begin() const { return data; }
  const T *end() const { return data + count; }
};

} // namespace kiln

#endif /* KILN_CORE_ARRAY_H */
