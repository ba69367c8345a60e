// What the user of the compiler wants a dynamic dim to be within.
#ifndef KILN_COMPILER_IMPORT_DIMBOUNDS_H
#define KILN_COMPILER_IMPORT_DIMBOUNDS_H

#include <cstdint>
#include <string>

namespace kiln {

/// Inclusive bounds of a dim, by its name in the model.
struct DimBounds {
  std::string name;
  int64_t min = 0, max = 0;
};

} // namespace kiln

#endif
