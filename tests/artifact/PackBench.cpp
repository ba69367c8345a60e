// Times quantize-and-pack: pack_bench FORMAT ROWS DEPTH THREADS [transpose]
#include "TestModule.h"
#include "compiler/artifact/WeightPacker.h"
#include "llvm/Support/FormatVariadic.h"
#include <chrono>
#include <random>

using namespace kiln;

int main(int argc, char **argv) {
  if (argc < 5)
    return 2;
  int64_t rows = atoll(argv[2]), depth = atoll(argv[3]);
  bool transpose = argc > 5;
  TestFolder folder;
  std::mt19937_64 random(1);
  std::vector<uint64_t> words(rows * depth / 4);
  for (uint64_t &word : words)
    word = (random() & 0x8FFF8FFF8FFF8FFFull) | 0x2000200020002000ull; // |x| in 0.0078 .. 0.12
  folder.write("w.bin", words);
  TestModule module(
      llvm::formatv(
          "graph.weight @w : tensor<{0}x{1}xf32> from [#graph.source<\"w.bin\", \"w\", offset = 0, "
          "\"f16\", [{2}, {3}]>] {4} as \"{5}\" \"panel16\"",
          rows, depth, transpose ? depth : rows, transpose ? rows : depth,
          transpose ? "via [#graph.transpose]" : "", argv[1])
          .str());
  WeightPacker packer(folder.path, {unsigned(atoi(argv[4])), ScaleChoice::Search});
  for (int run = 0; run < 3; ++run) {
    auto start = std::chrono::steady_clock::now();
    uint64_t bytes = 0;
    auto sums = packer.pack(module.weight("w"), [&](llvm::ArrayRef<uint8_t> piece) {
      bytes += piece.size();
      return llvm::Error::success();
    });
    if (!sums) {
      llvm::errs() << llvm::toString(sums.takeError()) << "\n";
      return 1;
    }
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    llvm::outs() << llvm::formatv("{0}: {1:f1} M weights in {2:f2} s, {3:f0} M/s, error {4:f4}\n",
                                  argv[1], rows * depth / 1e6, seconds.count(),
                                  rows * depth / 1e6 / seconds.count(), relativeRmsError(*sums));
  }
}
