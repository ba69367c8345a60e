// A kernel compiled for one target and a way to call it here: in the process where the machine has
// the target's features, else under qemu with a small caller.
#include "TargetImage.h"
#include "compiler/GenerateCode.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <dlfcn.h>
#include <fstream>
#if defined(__linux__)
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace kiln;
using namespace kiln::test;

static bool isNative(const Target &target) {
  return llvm::Triple(target.triple).getArch() ==
         llvm::Triple(llvm::sys::getDefaultTargetTriple()).getArch();
}

/// Asks Linux for AMX tile data (arch_prctl(2)); true where nothing needs to be asked.
static bool requestTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18;
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return true;
#endif
}

bool kiln::test::canRun(const Target &target, std::string &reason) {
  if (isNative(target)) {
    llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
    for (const std::string &feature : target.requiredFeatures)
      if (!features.lookup(feature)) {
        reason = "this machine has no " + feature;
        return false;
      }
    if (target.matrix && !requestTiles()) {
      reason = "the system grants no tiles";
      return false;
    }
    return true;
  }
#ifdef KILN_QEMU
  return true;
#else
  reason = "qemu-aarch64 or the cross compiler is not installed";
  return false;
#endif
}

static std::string moduleText(const ConformanceCase &kernel) {
  std::string text = "exec.kernel @kernel dims [";
  for (size_t i = 0; i < kernel.dims.size(); ++i)
    text += (i ? ", \"" : "\"") + kernel.dims[i] + "\"";
  text += "] strides [";
  for (size_t i = 0; i < kernel.strides.size(); ++i)
    text += (i ? ", " : "") + std::to_string(kernel.strides[i]);
  return text + "] {\n" + kernel.body + "\n}\n";
}

TargetImage::TargetImage(const ConformanceCase &kernel, const Target &target, llvm::StringRef only)
    : context(mlir::MLIRContext::Threading::DISABLED) {
  context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(moduleText(kernel), &context);
  if (!module) {
    text = "does not parse:\n" + moduleText(kernel);
    return;
  }
  for (const KernelEmitter *emitter : target.kernels)
    for (auto parsed : module->getOps<exec::KernelOp>())
      if (emitter->name == only && emitter->refuse(parsed, target)) {
        notTaken = true;
        return;
      }
  CodegenOptions options;
  options.onlyKernel = only.str();
  llvm::Expected<KernelImage> generated = generateCode(*module, target, options);
  if (!generated) {
    text = llvm::toString(generated.takeError());
    return;
  }
  image = std::move(*generated);
  llvm::SmallString<128> created;
  if (llvm::sys::fs::createTemporaryFile("kiln-conformance", "so", created)) {
    text = "no temporary file";
    return;
  }
  path = created.str().str();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(image.elf.data()), std::streamsize(image.elf.size()));
  if (isNative(target)) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      text = dlerror();
  }
}

TargetImage::~TargetImage() {
  if (library)
    dlclose(library);
  if (!path.empty())
    llvm::sys::fs::remove(path);
}

bool TargetImage::run(Call &call) {
  int64_t items = evaluate(image.kernels.front().items, call.dims);
  int64_t scratchBytes = evaluate(image.kernels.front().scratchBytes, call.dims);
  return library ? runHere(call, items, scratchBytes) : runEmulated(call, items, scratchBytes);
}

namespace {
/// A copy of a buffer that ends where memory ends.
class Fenced {
public:
  explicit Fenced(Buffer<uint8_t> &original) : original(original) {
#if defined(__linux__)
    size_t page = size_t(sysconf(_SC_PAGESIZE)), pages = original.size() / page + 2;
    bytes = pages * page;
    memory = static_cast<uint8_t *>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory + bytes - page, page, PROT_NONE) != 0)
      std::abort();
    start = memory + bytes - page - original.size();
    std::memcpy(start, original.data(), original.size());
#else
    start = original.data();
#endif
  }
  ~Fenced() {
#if defined(__linux__)
    std::memcpy(original.data(), start, original.size());
    munmap(memory, bytes);
#endif
  }
  Fenced(const Fenced &) = delete;
  uint8_t *data() { return start; }

private:
  Buffer<uint8_t> &original;
  uint8_t *memory = nullptr, *start = nullptr;
  size_t bytes = 0;
};
} // namespace

bool TargetImage::runHere(Call &call, int64_t items, int64_t scratchBytes) {
  auto function = reinterpret_cast<kiln_kernel_fn>(dlsym(library, "kernel"));
  if (!function) {
    text = "the image has no symbol 'kernel'";
    return false;
  }
  constexpr int64_t fence = 256;
  Buffer<uint8_t> scratch(size_t(scratchBytes + fence));
  std::memset(scratch.data(), 0xa5, scratch.size());
  std::vector<void *> buffers;
  for (Buffer<uint8_t> &buffer : call.buffers)
    buffers.push_back(buffer.data());
  std::vector<std::unique_ptr<Fenced>> fences;
  for (size_t index : call.fenced) {
    fences.push_back(std::make_unique<Fenced>(call.buffers[index]));
    buffers[index] = fences.back()->data();
  }
  // Three ranges, out of order, as two workers might take them.
  std::vector<uint32_t> counters(size_t(image.kernels.front().counters) + 1);
  Buffer<uint8_t> otherScratch(scratch);
  int64_t cuts[] = {0, items / 3, items - items / 4, items}, range = 0;
  for (int i : {1, 2, 0}) {
    kiln_kernel_args args{
        buffers.data(), call.dims.data(), i == 2 ? otherScratch.data() : scratch.data(),
        cuts[i],        cuts[i + 1],      i == 2 ? 0 : range,
        counters.data()};
    if (cuts[i] < cuts[i + 1]) {
      function(&args);
      range += i != 2;
    }
  }
  for (uint32_t counter : counters)
    if (counter) {
      text = "a counter is left at " + std::to_string(counter);
      return false;
    }
  for (int64_t i = 0; i < fence; ++i)
    if (scratch[size_t(scratchBytes + i)] != 0xa5) {
      text = "wrote past its scratch of " + std::to_string(scratchBytes) + " bytes";
      return false;
    }
  return true;
}

#ifdef KILN_QEMU
bool TargetImage::runEmulated(Call &call, int64_t items, int64_t scratchBytes) {
  std::string callPath = path + ".call";
  auto number = [](std::ofstream &out, uint64_t value) {
    out.write(reinterpret_cast<const char *>(&value), sizeof value);
  };
  {
    std::ofstream out(callPath, std::ios::binary);
    number(out, call.dims.size());
    for (int64_t dim : call.dims)
      number(out, uint64_t(dim));
    number(out, uint64_t(items));
    number(out, uint64_t(scratchBytes));
    number(out, call.buffers.size());
    for (Buffer<uint8_t> &buffer : call.buffers) {
      number(out, buffer.size());
      out.write(reinterpret_cast<const char *>(buffer.data()), std::streamsize(buffer.size()));
    }
  }
  llvm::StringRef arguments[] = {KILN_QEMU, "-L",     KILN_AARCH64_ROOT, KILN_AARCH64_CALLER,
                                 path,      "kernel", callPath};
  int status = llvm::sys::ExecuteAndWait(KILN_QEMU, arguments, std::nullopt, {}, 60, 0, &text);
  if (status == 0) {
    std::ifstream in(callPath, std::ios::binary);
    in.seekg(std::streamoff(8 * (4 + call.dims.size())));
    for (Buffer<uint8_t> &buffer : call.buffers) {
      in.seekg(8, std::ios::cur);
      in.read(reinterpret_cast<char *>(buffer.data()), std::streamsize(buffer.size()));
    }
    if (!in)
      text = "the caller's answer is short";
  } else {
    text = "the caller failed with status " + std::to_string(status) + " " + text;
  }
  llvm::sys::fs::remove(callPath);
  return text.empty();
}
#else
bool TargetImage::runEmulated(Call &, int64_t, int64_t) {
  text = "no emulator";
  return false;
}
#endif
