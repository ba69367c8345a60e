// Measures the kernels of convolutions and of matmuls with float weights, shape by shape: what
// share of the machine's multiplications they reach. usage: kiln_conv_shapes SHAPES [--threads N]
// [--only PART] [--target NAME] [--dump FOLDER] [--codes 1]
//
// With --codes images are u8 and weights s8, and sums are scaled and rounded to u8 again.
//
// SHAPES (tests/bench/conv_shapes.txt) has a line for each: name, images, height, width, channels,
// outputs, kernel, stride, pad, groups; or "name rows columns outputs" of a matmul. Prints name,
// threads, the best time in microseconds, GFLOP/s and the share of the peak, which a loop of
// multiplications in registers measures first.
#include "codegen/Target.h"
#include "compiler/GenerateCode.h"
#include "ir/Exec/ExecDialect.h"
#include "ir/PanelLayout.h"
#include "kiln/abi.h"
#include "mlir/Parser/Parser.h"
#include "targets/Targets.h"
#include <atomic>
#include <chrono>
#include <cstdio>
#include <dlfcn.h>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <thread>
#include <unistd.h>

using namespace kiln;

namespace {

struct Shape {
  std::string name;
  int64_t images = 1, height = 1, width = 1, channels = 0, outputs = 0, kernel = 1, stride = 1,
          pad = 0, groups = 1;
  bool isMatmul = false;

  int64_t outHeight() const { return (height + 2 * pad - kernel) / stride + 1; }
  int64_t outWidth() const { return (width + 2 * pad - kernel) / stride + 1; }
  int64_t depth() const { return kernel * kernel * (channels / groups); }
  /// Columns of a weight of codes, whose taps are whole quads.
  int64_t codesDepth() const { return kernel * kernel * ((channels / groups + 3) / 4 * 4); }
  double flops() const {
    return 2.0 * double(images * outHeight() * outWidth()) * double(outputs) * double(depth());
  }
};

int64_t padded(int64_t columns) {
  int64_t stride = (columns + 15) / 16 * 16;
  return stride % 512 ? stride : stride + 16;
}

std::string tensor(std::initializer_list<int64_t> extents, const std::string &encoding = "") {
  std::string text = "tensor<";
  for (int64_t extent : extents)
    text += std::to_string(extent) + "x";
  return text + "f32" + encoding + ">";
}

std::string convolution(const Shape &s, const std::string &types) {
  auto both = [](int64_t value) {
    return "array<i64: " + std::to_string(value) + ", " + std::to_string(value) + ">";
  };
  return "%c = graph.compute \"conv\"(%x, %w, %b) {kernel = " + both(s.kernel) +
         ", strides = " + both(s.stride) + ", pads_begin = " + both(s.pad) +
         ", pads_end = " + both(s.pad) + ", dilations = " + both(1) +
         ", groups = " + std::to_string(s.groups) + " : i64} : " + types + "\n";
}

/// Codes as int8 models have them: dense rows.
std::string codesText(const Shape &s) {
  auto image = [&](int64_t height, int64_t width, int64_t columns, const std::string &element) {
    return "tensor<" + std::to_string(s.images) + "x" + std::to_string(height) + "x" +
           std::to_string(width) + "x" + std::to_string(columns) + "x" + element + ">";
  };
  auto result = [&](const std::string &element) {
    return image(s.outHeight(), s.outWidth(), s.outputs, element);
  };
  std::string in = image(s.height, s.width, s.channels, "ui8"), sums = result("i32"),
              numbers = result("f32"), out = result("ui8"), outputs = std::to_string(s.outputs),
              w = "tensor<" + outputs + "x" + std::to_string(s.codesDepth()) +
                  "xi8, #graph.stored<\"s8\", \"panel16\">>",
              bias = "tensor<" + outputs + "xi32, #graph.stored<\"raw\", \"rows\">>",
              factors = "tensor<" + outputs + "xf32, #graph.stored<\"raw\", \"rows\">>";
  return "exec.kernel @kernel dims [] strides [" + std::to_string(s.channels) + ", 0, 0, 0, " +
         outputs + "] {\n^bb0(%x: " + in + ", %w: " + w + ", %b: " + bias + ", %f: " + factors +
         "):\n" + convolution(s, "(" + in + ", " + w + ", " + bias + ") -> " + sums) +
         "%n = graph.compute \"cast\"(%c) {} : (" + sums + ") -> " + numbers +
         "\n%y = graph.compute \"quantize\"(%n, %f) {zero = 0 : i64, low = 0 : i64, high = 255 : "
         "i64} : (" +
         numbers + ", " + factors + ") -> " + out + "\ngraph.yield %y : " + out + "\n}";
}

std::string kernelText(const Shape &s) {
  std::string stored = ", #graph.stored<\"f32\", \"panel16\">";
  std::string w = tensor({s.outputs, s.depth()}, stored),
              bias = tensor({s.outputs}, ", #graph.stored<\"f32\", \"rows\">");
  std::string strides = "strides [" + std::to_string(padded(s.channels)) + ", 0, 0, " +
                        std::to_string(padded(s.outputs)) + "] {\n";
  if (s.isMatmul) {
    std::string in = tensor({s.height, s.channels}), out = tensor({s.height, s.outputs});
    return "exec.kernel @kernel dims [] " + strides + "^bb0(%x: " + in + ", %w: " + w +
           ", %b: " + bias + "):\n%c = graph.matmul %x, %w : " + in + ", " + w + " -> " + out +
           "\n%y = graph.add %c, %b : " + out + ", " + bias + "\ngraph.yield %y : " + out + "\n}";
  }
  std::string in = tensor({s.images, s.height, s.width, s.channels}),
              out = tensor({s.images, s.outHeight(), s.outWidth(), s.outputs});
  return "exec.kernel @kernel dims [] " + strides + "^bb0(%x: " + in + ", %w: " + w +
         ", %b: " + bias + "):\n" +
         convolution(s, "(" + in + ", " + w + ", " + bias + ") -> " + out) +
         "%y = graph.compute \"relu\"(%c) {} : (" + out + ") -> " + out +
         "\ngraph.yield %y : " + out + "\n}";
}

std::vector<Shape> readShapes(const char *path) {
  std::vector<Shape> shapes;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#')
      continue;
    std::istringstream in(line);
    Shape s;
    std::vector<int64_t> numbers;
    in >> s.name;
    for (int64_t number; in >> number;)
      numbers.push_back(number);
    if (numbers.size() == 3) {
      s.isMatmul = true;
      s.height = numbers[0], s.channels = numbers[1], s.outputs = numbers[2];
    } else if (numbers.size() == 9) {
      s.images = numbers[0], s.height = numbers[1], s.width = numbers[2], s.channels = numbers[3];
      s.outputs = numbers[4], s.kernel = numbers[5], s.stride = numbers[6], s.pad = numbers[7];
      s.groups = numbers[8];
    } else {
      std::fprintf(stderr, "%s: a line has %zu numbers: %s\n", path, numbers.size(), line.c_str());
      std::exit(2);
    }
    shapes.push_back(s);
  }
  return shapes;
}

/// 64-byte aligned floats.
struct Floats {
  explicit Floats(size_t count)
      : memory(static_cast<float *>(std::aligned_alloc(64, (count * 4 + 255) / 64 * 64))) {
    for (size_t i = 0; i < count; ++i)
      memory[i] = float(i % 13) * 0.01f - 0.05f;
  }
  ~Floats() { std::free(memory); }
  Floats(const Floats &) = delete;
  float *memory;
};

int64_t evaluate(mlir::AffineMap map) {
  llvm::SmallVector<mlir::Attribute> results;
  if (failed(map.constantFold({}, results)))
    return -1;
  return llvm::cast<mlir::IntegerAttr>(results.front()).getInt();
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// GFLOP/s of one thread that multiplies in registers.
double measurePeak() {
  typedef float Vector __attribute__((vector_size(64)));
  Vector a = {}, b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, x = a + 1.0f;
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    double start = seconds();
    constexpr int64_t rounds = 1 << 20;
    for (int64_t round = 0; round < rounds; ++round) {
      a = a * x + x, b = b * x + x, c = c * x + x, d = d * x + x, e = e * x + x;
      f = f * x + x, g = g * x + x, h = h * x + x, i = i * x + x, j = j * x + x;
      asm volatile(""
                   : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h),
                     "+v"(i), "+v"(j));
    }
    best = std::max(best, double(rounds) * 10 * 32 / (seconds() - start) * 1e-9);
  }
  return best;
}

/// The best of many launches, in seconds.
double measure(kiln_kernel_fn function, std::vector<void *> &buffers, int64_t items,
               int64_t scratchBytes, size_t counters, unsigned threads) {
  std::vector<std::unique_ptr<Floats>> scratch;
  for (unsigned i = 0; i < threads; ++i)
    scratch.push_back(std::make_unique<Floats>(size_t(scratchBytes) / 4 + 16));
  std::vector<uint32_t> words(counters + 1);
  std::atomic<int64_t> round{0}, done{0};
  auto work = [&](unsigned worker) {
    kiln_kernel_args args{buffers.data(),
                          nullptr,
                          scratch[worker]->memory,
                          items * worker / threads,
                          items * (worker + 1) / threads,
                          0,
                          words.data()};
    if (args.begin < args.end)
      function(&args);
  };
  std::vector<std::thread> others;
  for (unsigned worker = 1; worker < threads; ++worker)
    others.emplace_back([&, worker] {
      for (int64_t seen = 0;;) {
        int64_t now;
        while ((now = round.load(std::memory_order_acquire)) == seen)
          ;
        if (now < 0)
          return;
        seen = now;
        work(worker);
        done.fetch_add(1, std::memory_order_release);
      }
    });
  double best = 1e9, from = seconds();
  for (int64_t i = 1; i <= 5 || (seconds() - from < 0.15 && i < 100000); ++i) {
    done.store(0, std::memory_order_relaxed);
    double start = seconds();
    round.store(i, std::memory_order_release);
    work(0);
    while (done.load(std::memory_order_acquire) < int64_t(threads) - 1)
      ;
    best = std::min(best, seconds() - start);
  }
  round.store(-1, std::memory_order_release);
  for (std::thread &thread : others)
    thread.join();
  return best;
}

} // namespace

int main(int argc, char **argv) {
  std::string only, dump, targetName;
  std::vector<unsigned> threads;
  bool asIR = false, codes = false;
  if (argc < 2) {
    std::fprintf(stderr, "usage: kiln_conv_shapes SHAPES [--threads N]... [--only PART] "
                         "[--target NAME] [--dump FOLDER] [--codes 1]\n");
    return 2;
  }
  for (int i = 2; i + 1 < argc; i += 2) {
    std::string option = argv[i];
    if (option == "--threads")
      threads.push_back(unsigned(std::stoi(argv[i + 1])));
    else if (option == "--only")
      only = argv[i + 1];
    else if (option == "--dump")
      dump = argv[i + 1];
    else if (option == "--dump-ir")
      dump = argv[i + 1], asIR = true;
    else if (option == "--codes")
      codes = std::stoi(argv[i + 1]) != 0;
    else if (option == "--target")
      targetName = argv[i + 1];
  }
  if (threads.empty())
    threads = {1, 2};
  const Target *target = llvm::cantFail(targetName.empty() ? hostTarget() : findTarget(targetName));
  double peak = measurePeak();
  std::printf("# %s, peak of a thread %.0f GFLOP/s\n", target->name.c_str(), peak);
  std::map<unsigned, double> sums;
  for (const Shape &shape : readShapes(argv[1])) {
    if (shape.name.find(only) == std::string::npos || (codes && shape.isMatmul))
      continue;
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
    auto module = mlir::parseSourceString<mlir::ModuleOp>(
        codes ? codesText(shape) : kernelText(shape), &context);
    if (!module)
      return 1;
    CodeListing listing;
    listing.kind = asIR ? ObjectKind::LLVMIR : ObjectKind::Assembly;
    llvm::Expected<KernelImage> image =
        generateCode(*module, *target, {}, dump.empty() ? nullptr : &listing);
    if (!image) {
      std::fprintf(stderr, "%s: %s\n", shape.name.c_str(),
                   llvm::toString(image.takeError()).c_str());
      return 1;
    }
    if (!dump.empty())
      std::ofstream(dump + "/" + shape.name + (asIR ? ".ll" : ".s"))
          .write(listing.text.data(), std::streamsize(listing.text.size()));
    std::string path = "/tmp/kiln-conv-" + std::to_string(getpid()) + ".so";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char *>(image->elf.data()),
               std::streamsize(image->elf.size()));
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    std::remove(path.c_str());
    auto function = library ? reinterpret_cast<kiln_kernel_fn>(dlsym(library, "kernel")) : nullptr;
    if (!function) {
      std::fprintf(stderr, "%s: %s\n", shape.name.c_str(), dlerror());
      return 1;
    }
    const Format &format = *findFormat(codes ? "s8" : "f32");
    int64_t depth = codes ? shape.codesDepth() : shape.depth();
    Floats x(size_t(shape.images * shape.height * shape.width * padded(shape.channels)) + 64),
        w(size_t(PanelLayout(format, shape.outputs, depth).totalBytes() / 4)),
        bias(size_t(padded(shape.outputs))), factors(size_t(padded(shape.outputs))),
        y(size_t(shape.images * shape.outHeight() * shape.outWidth() * padded(shape.outputs)) + 64);
    std::vector<void *> buffers{x.memory, w.memory, bias.memory};
    if (codes)
      buffers.push_back(factors.memory);
    buffers.push_back(y.memory);
    const KernelImage::Kernel &kernel = image->kernels.front();
    for (unsigned count : threads) {
      double time = measure(function, buffers, evaluate(kernel.items),
                            evaluate(kernel.scratchBytes), size_t(kernel.counters), count);
      sums[count] += time;
      double rate = shape.flops() / time * 1e-9;
      std::printf("%-28s %u %9.1f us %7.1f GFLOP/s %5.1f %%  %s, %lld items\n", shape.name.c_str(),
                  count, time * 1e6, rate, 100 * rate / (peak * count),
                  kernel.implementation.c_str(), (long long)evaluate(kernel.items));
      std::fflush(stdout);
    }
    dlclose(library);
  }
  for (auto [count, time] : sums)
    std::printf("%-28s %u %9.1f us\n", "all", count, time * 1e6);
  return 0;
}
