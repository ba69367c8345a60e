// Writes NumPy .npy files row by row.
#ifndef KILN_TOOLS_NPYFILE_H
#define KILN_TOOLS_NPYFILE_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace kiln {

/// An f32 matrix [rows, columns] in NumPy's format 1.0, little-endian, C order. It is written to
/// PATH.partial and gets its name when it is complete.
class NpyFile {
public:
  NpyFile(std::string path, uint64_t rows, uint64_t columns);
  ~NpyFile();

  /// Appends rows. False once writing has failed.
  bool append(const float *values, size_t count);
  /// Completes the file. False when anything failed; then nothing is left.
  bool close();

private:
  std::string path;
  std::FILE *file;
  bool good;
};

} // namespace kiln

#endif
