// Writes NumPy .npy files (format 1.0: numpy.lib.format): magic, header length, a Python dict
// padded so that the data starts at a multiple of 64 bytes.
#include "compiler/tools/kiln/NpyFile.h"

using namespace kiln;

NpyFile::NpyFile(std::string name, uint64_t rows, uint64_t columns)
    : path(std::move(name)), file(std::fopen((path + ".partial").c_str(), "wb")), good(file) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(rows) + ", " + std::to_string(columns) + "), }";
  constexpr size_t prefix = 10;
  while ((prefix + header.size() + 1) % 64)
    header += ' ';
  header += '\n';
  const unsigned char magic[prefix] = {0x93,
                                       'N',
                                       'U',
                                       'M',
                                       'P',
                                       'Y',
                                       1,
                                       0,
                                       (unsigned char)(header.size() & 255),
                                       (unsigned char)(header.size() >> 8)};
  good = good && std::fwrite(magic, 1, prefix, file) == prefix &&
         std::fwrite(header.data(), 1, header.size(), file) == header.size();
}

NpyFile::~NpyFile() {
  if (!file)
    return;
  std::fclose(file);
  std::remove((path + ".partial").c_str());
}

bool NpyFile::append(const float *values, size_t count) {
  good = good && std::fwrite(values, sizeof(float), count, file) == count;
  return good;
}

bool NpyFile::close() {
  if (!file)
    return false;
  good = std::fclose(file) == 0 && good;
  file = nullptr;
  std::string partial = path + ".partial";
  good = good && std::rename(partial.c_str(), path.c_str()) == 0;
  if (!good)
    std::remove(partial.c_str());
  return good;
}
