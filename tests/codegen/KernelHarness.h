// Compiles exec.kernel text for this machine with chosen emitters and calls it as the runtime does.
#ifndef KILN_TESTS_CODEGEN_KERNELHARNESS_H
#define KILN_TESTS_CODEGEN_KERNELHARNESS_H

#include "codegen/KernelEmitter.h"
#include "ir/PanelLayout.h"
#include "kiln/abi.h"
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace kiln::test {

/// 64-byte aligned memory of T, zero at first; a copy is aligned too.
template <typename T> class Buffer {
public:
  explicit Buffer(size_t count)
      : count(count), memory(static_cast<T *>(::operator new(count * sizeof(T) + 64, alignment))) {
    std::memset(static_cast<void *>(memory.get()), 0, count * sizeof(T));
  }
  Buffer(const Buffer &other) : Buffer(other.count) {
    std::memcpy(static_cast<void *>(data()), other.memory.get(), count * sizeof(T));
  }
  Buffer(Buffer &&) = default;
  Buffer &operator=(Buffer other) {
    std::swap(count, other.count);
    memory.swap(other.memory);
    return *this;
  }
  T *data() { return memory.get(); }
  T &operator[](size_t i) { return data()[i]; }
  size_t size() const { return count; }

private:
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(T *pointer) const { ::operator delete(pointer, alignment); }
  };
  size_t count;
  std::unique_ptr<T, Free> memory;
};

/// One kernel, compiled and loaded. Problems are test failures, after which it does not run.
class Kernel {
public:
  /// `body` is the text of the kernel's block: "^bb0(%x: ...): ... graph.yield ...". `strides` are
  /// the row strides of reads and results, `dims` the names of the dims.
  Kernel(const KernelEmitter &emitter, const std::string &body, const std::vector<int64_t> &strides,
         const std::vector<std::string> &dims = {"n"});
  ~Kernel();
  Kernel(const Kernel &) = delete;

  bool compiled() const { return function != nullptr; }
  const std::string &refusal() const { return reason; }
  /// Calls the kernel on [0, items) in two ranges, with scratch of the declared size.
  void run(const std::vector<void *> &buffers, const std::vector<int64_t> &dims);

private:
  void compile(const KernelEmitter &emitter, const std::string &text);

  kiln_kernel_fn function = nullptr;
  void *library = nullptr;
  std::string reason;
  std::shared_ptr<void> context;
  mlir::AffineMap items, scratchBytes;
  size_t counters = 0;
};

/// Whether a format's elements stand for f32 numbers: all but codes.
inline bool isOfNumbers(const Format &format) { return format.kind != FormatKind::Codes; }

/// A matrix of random values in a format of ir/Formats.def, packed as "panel16".
struct PackedMatrix {
  PackedMatrix(FormatId format, int64_t rows, int64_t depth, unsigned seed);
  float at(int64_t row, int64_t k) const { return values[row * depth + k]; }
  std::string type() const; // tensor<rows x depth x f32, #graph.stored<...>>

  const Format &format;
  int64_t rows, depth;
  std::vector<float> values; // what the stored form means
  Buffer<uint8_t> bytes;
};

/// The largest result of `map` for these dims; -1 where it cannot be computed.
int64_t evaluate(mlir::AffineMap map, const std::vector<int64_t> &dims);

std::vector<float> randomFloats(size_t count, unsigned seed, float scale = 1);
uint16_t halfBits(float value);
float halfValue(uint16_t bits);

} // namespace kiln::test

#endif
