// Writes NumPy .npy files as their rows come.
#include "compiler/tools/kiln/NpyFile.h"
#include "compiler/values/NpyFormat.h"

using namespace kiln;

NpyFile::NpyFile(std::string name, uint64_t rows, uint64_t columns)
    : path(std::move(name)), file(std::fopen((path + ".partial").c_str(), "wb")), good(file) {
  std::string header =
      llvm::cantFail(makeNpyHeader(OnnxType::Float, {int64_t(rows), int64_t(columns)}));
  good = good && std::fwrite(header.data(), 1, header.size(), file) == header.size();
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
