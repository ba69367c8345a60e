// Writes the seed corpus of fuzz_artifact into a folder: the toy model as it is, with packed
// relocations, the smallest program there is, a loop, and dims that are computed.

#include "ToySchedules.h"

#include <cstdio>

using namespace kiln::test;

static bool write(const std::string &path, const Bytes &bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  return bool(file);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: seed_artifact FOLDER\n");
    return 2;
  }
  std::string folder = std::string(argv[1]) + "/";
  Toy empty(imagePath());
  empty.program.functions.clear();
  bool written = write(folder + "toy.kiln", Toy(imagePath()).artifact()) &&
                 write(folder + "toy_relr.kiln", Toy(imagePath("kernels_relr.so")).artifact()) &&
                 write(folder + "empty.kiln", empty.artifact()) &&
                 write(folder + "loop.kiln", LoopSchedule(imagePath()).artifact()) &&
                 write(folder + "computed_dims.kiln", KeepSchedule(imagePath()).artifact());
  return written ? 0 : 1;
}
