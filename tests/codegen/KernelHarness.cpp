// The test's road from a kernel's text to a function pointer: parse, emit, lower to LLVM, compile,
// link with ld.lld, dlopen. Linking refuses undefined symbols, so a kernel that calls anything
// fails here.
#include "KernelHarness.h"
#include "codegen/EmitKernels.h"
#include "codegen/EmitObject.h"
#include "codegen/LowerToLLVM.h"
#include "codegen/Target.h"
#include "ir/Exec/ExecDialect.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <random>

using namespace kiln;
using namespace kiln::test;

static Target hostWith(const KernelEmitter *const &emitter) {
  Target target;
  target.name = "this machine";
  target.triple = llvm::sys::getDefaultTargetTriple();
  target.cpu = llvm::sys::getHostCPUName().str();
  target.vectorBits = 256;
  target.vectorRegisters = 16;
  target.rowTiles = {1};
  target.rowBlock = 1;
  target.kernels = emitter;
  return target;
}

/// Links an object without imports and loads it.
static void *loadObject(llvm::ArrayRef<char> object) {
  llvm::SmallString<128> source, image;
  int descriptor = -1;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kiln-kernel", "o", descriptor, source));
  llvm::raw_fd_ostream(descriptor, /*shouldClose=*/true).write(object.data(), object.size());
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kiln-kernel", "so", image));
  llvm::StringRef arguments[] = {KILN_TEST_LLD, "-shared", "-z", "defs", "-o", image, source};
  std::string error;
  int status = llvm::sys::ExecuteAndWait(KILN_TEST_LLD, arguments, {}, {}, 0, 0, &error);
  EXPECT_EQ(status, 0) << "the kernel does not link alone: " << error;
  void *library = status == 0 ? dlopen(image.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  llvm::sys::fs::remove(source);
  llvm::sys::fs::remove(image);
  return library;
}

static std::string kernelText(const std::string &body, const std::vector<int64_t> &strides,
                              const std::vector<std::string> &dims) {
  std::string text = "exec.kernel @kernel dims [";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", \"" : "\"") + dims[i] + "\"";
  text += "] strides [";
  for (size_t i = 0; i < strides.size(); ++i)
    text += (i ? ", " : "") + std::to_string(strides[i]);
  return text + "] {\n" + body + "\n}\n";
}

Kernel::Kernel(const KernelEmitter &emitter, const std::string &body,
               const std::vector<int64_t> &strides, const std::vector<std::string> &dims) {
  compile(emitter, kernelText(body, strides, dims));
}

void Kernel::compile(const KernelEmitter &emitter, const std::string &text) {
  auto owned = std::make_shared<mlir::MLIRContext>(mlir::MLIRContext::Threading::DISABLED);
  context = owned;
  owned->loadDialect<graph::GraphDialect, exec::ExecDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &*owned);
  ASSERT_TRUE(module) << text;
  const KernelEmitter *list = &emitter;
  Target target = hostWith(list);
  if (auto refusal = emitter.refuse(*module->getOps<exec::KernelOp>().begin(), target)) {
    reason = *refusal;
    return;
  }
  KernelImage image;
  auto code = emitKernels(*module, target, {}, image);
  ASSERT_TRUE(bool(code)) << llvm::toString(code.takeError());
  ASSERT_TRUE(mlir::succeeded(lowerToLLVM(**code, target)));
  auto object = emitObject(**code, target);
  ASSERT_TRUE(bool(object)) << llvm::toString(object.takeError());
  library = loadObject(*object);
  ASSERT_TRUE(library) << dlerror();
  function = reinterpret_cast<kiln_kernel_fn>(dlsym(library, "kernel"));
  ASSERT_TRUE(function);
  items = image.kernels.front().items;
  scratchBytes = image.kernels.front().scratchBytes;
  counters = size_t(image.kernels.front().counters);
}

Kernel::~Kernel() {
  if (library)
    dlclose(library);
}

int64_t kiln::test::evaluate(mlir::AffineMap map, const std::vector<int64_t> &dims) {
  llvm::SmallVector<mlir::Attribute> values;
  for (int64_t dim : dims)
    values.push_back(mlir::IntegerAttr::get(mlir::IndexType::get(map.getContext()), dim));
  llvm::SmallVector<mlir::Attribute> results;
  if (failed(map.constantFold(values, results)))
    return -1;
  int64_t largest = 0;
  for (mlir::Attribute result : results)
    largest = std::max(largest, llvm::cast<mlir::IntegerAttr>(result).getInt());
  return largest;
}

void Kernel::run(const std::vector<void *> &buffers, const std::vector<int64_t> &dims) {
  ASSERT_TRUE(compiled()) << reason;
  int64_t count = evaluate(items, dims), bytes = evaluate(scratchBytes, dims);
  constexpr int64_t fence = 256;
  Buffer<uint8_t> scratch(bytes + fence);
  std::memset(scratch.data(), 0xa5, scratch.size());
  std::vector<uint32_t> words(counters + 1);
  int64_t middle = (count + 1) / 2, range = 0;
  for (auto [begin, end] : {std::pair(middle, count), std::pair(int64_t(0), middle)}) {
    kiln_kernel_args args{buffers.data(), dims.data(), scratch.data(), begin, end,
                          range++,        words.data()};
    function(&args);
  }
  for (uint32_t word : words)
    ASSERT_EQ(word, 0u) << "a counter is left";
  for (int64_t i = 0; i < fence; ++i)
    ASSERT_EQ(scratch[bytes + i], 0xa5) << "wrote past its scratch of " << bytes << " bytes";
}

// ---- Weights --------------------------------------------------------------------------------

std::vector<float> kiln::test::randomFloats(size_t count, unsigned seed, float scale) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(-scale, scale);
  std::vector<float> values(count);
  for (float &value : values)
    value = distribution(generator);
  return values;
}

uint16_t kiln::test::halfBits(float value) {
  _Float16 half = _Float16(value);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

float kiln::test::halfValue(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return float(half);
}

static uint16_t brainBits(float value) {
  uint32_t pattern;
  std::memcpy(&pattern, &value, 4);
  return uint16_t(pattern >> 16);
}

static float brainValue(uint16_t bits) {
  uint32_t pattern = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &pattern, 4);
  return value;
}

namespace {
/// Chooses the scales of one panel and remembers what they mean.
struct RandomScales {
  const PanelLayout &layout;
  const Format &format = layout.getFormat();
  uint8_t *panel;

  float half(int64_t place, float value) const {
    bool brain = format.scales == ScaleKind::Brain;
    uint16_t bits = brain ? brainBits(value) : halfBits(value);
    std::memcpy(panel + place, &bits, 2);
    return brain ? brainValue(bits) : halfValue(bits);
  }
  float steps(int64_t place, int value) const {
    panel[place] = uint8_t(int8_t(value));
    return float(value);
  }
  float scale(int64_t lane, int64_t group, int64_t row) const {
    float size = 0.01f + 0.001f * float((row * 7 + group) % 31);
    if (format.scales != ScaleKind::Super)
      return half(layout.scalePlace(lane, group), size);
    int count = int((row * 5 + group * 3) % 40) + (format.hasMin ? 0 : -12);
    return half(layout.superScalePlace(lane, group), 0.0007f + 0.0001f * float(row % 7)) *
           steps(layout.scalePlace(lane, group), count);
  }
  float min(int64_t lane, int64_t group, int64_t row) const {
    if (format.scales != ScaleKind::Super)
      return half(layout.minPlace(lane, group), -0.01f * float((row * 3 + group) % 11));
    return -half(layout.superMinPlace(lane, group), 0.003f + 0.0002f * float(row % 5)) *
           steps(layout.minPlace(lane, group), int((row + group * 5) % 60));
  }
};
} // namespace

PackedMatrix::PackedMatrix(FormatId id, int64_t rows, int64_t depth, unsigned seed)
    : format(getFormats()[size_t(id)]), rows(rows), depth(depth), values(rows * depth),
      bytes(PanelLayout(format, rows, depth).totalBytes()) {
  PanelLayout layout(format, rows, depth);
  std::mt19937 generator(seed);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t lane = row % 16;
    uint8_t *panel = bytes.data() + row / 16 * layout.panelBytes();
    RandomScales scales{layout, layout.getFormat(), panel};
    for (int64_t k = 0; k < depth; ++k) {
      uint8_t *target = panel + layout.place(lane, k).byte;
      float value = float(generator() % 20001) / 10000.0f - 1.0f;
      if (format.kind == FormatKind::Integer) {
        int64_t group = k / format.group;
        unsigned code = generator() % (1u << format.bits);
        layout.storeCode(panel, lane, k, code);
        code = format.table ? format.table[code] : code;
        value = scales.scale(lane, group, row) * float(int(code) - int(format.zero));
        if (format.hasMin)
          value += scales.min(lane, group, row);
      } else if (id == FormatId::F32) {
        std::memcpy(target, &value, 4);
      } else if (id == FormatId::F16) {
        uint16_t half = halfBits(value);
        value = halfValue(half);
        std::memcpy(target, &half, 2);
      } else {
        uint16_t top = brainBits(value);
        value = brainValue(top);
        std::memcpy(target, &top, 2);
      }
      values[row * depth + k] = value;
    }
  }
}

std::string PackedMatrix::type() const {
  return "tensor<" + std::to_string(rows) + "x" + std::to_string(depth) + "xf32, #graph.stored<\"" +
         format.name.str() + "\", \"panel16\">>";
}
