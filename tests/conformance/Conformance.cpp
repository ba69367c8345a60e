// Compares every entry of a target's kernel list with the reference lowering, case by case and for
// many row counts, and says which entry took what.
//
// Bounds. Kernels that keep activations in f32 differ from the reference by the order of sums: 1e-4
// of the result's size. Kernels that round activations to 8 bits (scale max|x|/127 over 32
// elements) make an error of at most scale/2 for each, which over random signs is a relative RMS
// error near 1 / (2 sqrt(3)) * (max / rms) / 127, about 0.4 % for uniform values; 1.5 % is the
// bound for one matmul of few outputs, twice that for a product of two. Kernels that round
// activations and weights to bf16 (8 bits, each within 2^-9) make less. A row's result must also be
// the same bits whatever rows are beside it, unless there are so many that a matrix unit takes
// over.
#include "Conformance.h"
#include "TargetImage.h"
#include "codegen/MatrixUnit.h"
#include "compiler/values/Value.h"
#include "targets/Targets.h"
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

using namespace kiln;
using namespace kiln::test;

// ---- Buffers --------------------------------------------------------------------------------

std::string kiln::test::rowsType(int64_t columns, const std::string &dim) {
  return "tensor<?x" + std::to_string(columns) + "xf32, #graph.dims<@" + dim + ">>";
}
std::string kiln::test::indexType(const std::string &dim) {
  return "tensor<?xi32, #graph.dims<@" + dim + ">>";
}
std::string kiln::test::vectorType(int64_t size) {
  return "tensor<" + std::to_string(size) + "xf32, #graph.stored<\"f32\", \"rows\">>";
}
int64_t kiln::test::paddedColumns(int64_t columns) { return (columns + 15) / 16 * 16; }

static Buffer<uint8_t> fromFloats(const std::vector<float> &values) {
  Buffer<uint8_t> buffer(values.size() * 4);
  std::memcpy(buffer.data(), values.data(), values.size() * 4);
  return buffer;
}

Buffer<uint8_t> kiln::test::randomRows(int64_t rows, int64_t columns, unsigned seed, float scale) {
  int64_t stride = paddedColumns(columns);
  std::vector<float> padded(size_t(rows * stride), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> values = randomFloats(size_t(rows * columns), seed, scale);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      padded[size_t(r * stride + c)] = values[size_t(r * columns + c)];
  return fromFloats(padded);
}

Buffer<uint8_t> kiln::test::randomVector(int64_t size, unsigned seed, float scale) {
  std::vector<float> values = randomFloats(size_t(size), seed, scale);
  values.resize(size_t(paddedColumns(size))); // "rows" vectors are padded with zeros
  return fromFloats(values);
}

Buffer<uint8_t> kiln::test::indices(const std::vector<int32_t> &values) {
  Buffer<uint8_t> buffer(values.size() * 4);
  std::memcpy(buffer.data(), values.data(), values.size() * 4);
  return buffer;
}

Buffer<uint8_t> kiln::test::emptyRows(int64_t rows, int64_t stride) {
  return fromFloats(std::vector<float>(size_t(rows * stride)));
}

// ---- Comparison -----------------------------------------------------------------------------

static float element(Buffer<uint8_t> &buffer, size_t index, bool half) {
  if (half) {
    uint16_t bits;
    std::memcpy(&bits, buffer.data() + index * 2, 2);
    return halfValue(bits);
  }
  float value;
  std::memcpy(&value, buffer.data() + index * 4, 4);
  return value;
}

/// "" when the results agree.
static std::string compare(Call &found, Call &expected, double roundingBound) {
  for (const Call::Result &result : expected.results) {
    Buffer<uint8_t> &a = found.buffers[result.buffer], &b = expected.buffers[result.buffer];
    if (result.integerBytes) {
      for (size_t i = 0; i < b.size(); ++i)
        if (a[i] != b[i])
          return "byte " + std::to_string(i) + " of buffer " + std::to_string(result.buffer) +
                 ": found " + std::to_string(a[i]) + ", expected " + std::to_string(b[i]);
      continue;
    }
    size_t count = a.size() / (result.half ? 2 : 4);
    double errors = 0, sizes = 0, largest = 0, worst = 0;
    size_t compared = 0;
    for (size_t i = 0; i < count; ++i) {
      if (int64_t(i % size_t(result.stride)) >= result.columns)
        continue;
      double x = element(a, i, result.half), y = element(b, i, result.half);
      if (result.nan && std::isnan(x) && std::isnan(y))
        continue;
      if (!std::isfinite(x) || !std::isfinite(y))
        return "element " + std::to_string(i) + " of buffer " + std::to_string(result.buffer) +
               ": found " + std::to_string(x) + ", expected " + std::to_string(y);
      errors += (x - y) * (x - y);
      sizes += y * y;
      largest = std::max(largest, std::abs(y));
      worst = std::max(worst, std::abs(x - y));
      ++compared;
    }
    double rms = sizes ? std::sqrt(errors / sizes) : std::sqrt(errors);
    // A value stored as f16 may fall to either side of a rounding boundary.
    double elementBound = roundingBound ? 4 * roundingBound : result.half ? 1e-3 : 1e-4;
    if (compared && (rms > (roundingBound ? roundingBound : 1e-4) ||
                     worst > elementBound * std::max(largest, 1e-6)))
      return "relative RMS error " + std::to_string(rms) + ", largest error " +
             std::to_string(worst) + " of values up to " + std::to_string(largest);
  }
  return "";
}

/// The same of results that the case itself knows.
static std::string compareExpected(Call &found) {
  for (const Call::Expected &expected : found.expected) {
    Buffer<uint8_t> &buffer = found.buffers[expected.buffer];
    Value value;
    value.type = expected.type;
    value.elementBytes = bytesInMemory(expected.type);
    value.bytes.assign(buffer.data(), buffer.data() + buffer.size());
    for (size_t i = 0; i < expected.values.size(); ++i) {
      int64_t place =
          int64_t(i) / expected.columns * expected.stride + int64_t(i) % expected.columns;
      double x = numberAt(value, place), y = expected.values[i];
      if (x == y || (std::isnan(x) && std::isnan(y)) ||
          std::abs(x - y) <= expected.absolute + expected.relative * std::abs(y))
        continue;
      return "element " + std::to_string(i) + " of buffer " + std::to_string(expected.buffer) +
             ": found " + std::to_string(x) + ", expected " + std::to_string(y);
    }
  }
  return "";
}

/// The bits of a row must not depend on the rows beside it: row 0 of `many` is row 0 of `one`.
static bool firstRowsEqual(Call &one, Call &many) {
  const Call::Result &result = one.results.front();
  return std::memcmp(one.buffers[result.buffer].data(), many.buffers[result.buffer].data(),
                     size_t(result.columns) *
                         size_t(result.integerBytes ? result.integerBytes : 4)) == 0;
}

namespace {

struct Tally {
  int passed = 0, failed = 0, refused = 0;
};

class TargetConformance {
public:
  explicit TargetConformance(const Target &target)
      : target(target), native(target.elfMachine == llvm::cantFail(hostTarget())->elfMachine) {}

  /// Runs the cases whose name contains `part`, each with the best `most` emitters that take it.
  int run(llvm::StringRef part, int most);

private:
  /// \returns whether the emitter takes the kernel.
  bool runCase(const ConformanceCase &kernel, const KernelEmitter &emitter);
  void runFine(const ConformanceCase &kernel, const KernelEmitter &emitter);
  void fail(const ConformanceCase &kernel, const KernelEmitter &emitter, const std::string &why) {
    std::printf("FAILED %s, %s, %s: %s\n", target.name.c_str(), emitter.name.str().c_str(),
                kernel.name.c_str(), why.c_str());
    ++tallies[emitter.name.str()].failed;
  }
  Call *reference(const ConformanceCase &kernel, int64_t rows, std::string &problem);

  const Target &target;
  bool native;
  std::map<std::string, Tally> tallies;
  /// The reference of the case at hand, and what it gave for a number of rows.
  std::unique_ptr<TargetImage> referenceImage;
  std::map<int64_t, Call> referenceCalls;
};

} // namespace

/// What the reference lowering, compiled for this machine whatever the target is, gives for `rows`.
Call *TargetConformance::reference(const ConformanceCase &kernel, int64_t rows,
                                   std::string &problem) {
  if (!referenceImage) {
    const Target *host = llvm::cantFail(hostTarget());
    llvm::StringRef name = kernel.reference;
    if (name.empty())
      name = host->kernels.back()->name;
    referenceImage = std::make_unique<TargetImage>(kernel, *host, name);
  }
  auto known = referenceCalls.find(rows);
  if (known != referenceCalls.end())
    return &known->second;
  Call call = kernel.call(rows);
  if (referenceImage->problem().empty() && referenceImage->run(call))
    return &referenceCalls.emplace(rows, std::move(call)).first->second;
  problem = "reference: " + referenceImage->problem();
  return nullptr;
}

bool TargetConformance::runCase(const ConformanceCase &kernel, const KernelEmitter &emitter) {
  TargetImage image(kernel, target, emitter.name);
  if (image.refused()) {
    ++tallies[emitter.name.str()].refused;
    return false;
  }
  auto failed = [&](const std::string &why) {
    fail(kernel, emitter, why);
    return true;
  };
  if (!image.problem().empty())
    return failed(image.problem());
  bool isReference = kernel.reference.empty() ? &emitter == target.kernels.back()
                                              : emitter.name == kernel.reference;
  bool exact =
      emitter.name == "contraction-fma" || emitter.name == "attention-vector" || isReference;
  double bound = exact ? 0 : kernel.roundingBound;
  std::vector<int64_t> counts = {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 33, 64, 65, 130};
  if (!native || isReference)
    counts = {1, 9, 67};
  else if (target.matrix)
    counts.push_back(300); // more than a block
  if (!kernel.counts.empty())
    counts = kernel.counts;
  // Few rows and many may go different ways, and round differently; within one way rows are alone.
  std::optional<Call> firstFew, firstMany;
  for (int64_t rows : counts) {
    Call found = kernel.call(rows);
    if (!image.run(found))
      return failed(image.problem());
    if (!found.expected.empty()) {
      if (std::string difference = compareExpected(found); !difference.empty())
        return failed(std::to_string(rows) + " rows: " + difference);
      continue;
    }
    std::string problem;
    Call *wanted = reference(kernel, rows, problem);
    if (!wanted)
      return failed(problem);
    std::string difference = compare(found, *wanted, bound);
    if (!difference.empty())
      return failed(std::to_string(rows) + " rows: " + difference);
    bool many =
        target.matrix && rows >= (kernel.manyRows ? kernel.manyRows : target.matrix->minimumRows);
    std::optional<Call> &first = many ? firstMany : firstFew;
    if (!first)
      first = std::move(found);
    else if (!kernel.rowsMatter && !firstRowsEqual(*first, found))
      return failed("row 0 of " + std::to_string(rows) + " rows differs from row 0 of fewer");
  }
  ++tallies[emitter.name.str()].passed;
  return true;
}

/// Few rows with activations in the finer form: as near to the reference as that promises.
void TargetConformance::runFine(const ConformanceCase &kernel, const KernelEmitter &emitter) {
  Target fine = target;
  fine.fineActivations = true;
  TargetImage image(kernel, fine, emitter.name);
  if (image.refused())
    return;
  if (!image.problem().empty())
    return fail(kernel, emitter, "fine: " + image.problem());
  for (int64_t rows : {1, 2, 4, 5, 9}) {
    bool few = rows <= 4 || (target.matrix && emitter.name == "contraction-matrix");
    Call found = kernel.call(rows);
    if (!image.run(found))
      return fail(kernel, emitter, "fine: " + image.problem());
    std::string problem;
    Call *wanted = reference(kernel, rows, problem);
    if (!wanted)
      return fail(kernel, emitter, problem);
    std::string difference =
        compare(found, *wanted, few ? kernel.roundingBound / 64 : kernel.roundingBound);
    if (!difference.empty())
      return fail(kernel, emitter, "fine, " + std::to_string(rows) + " rows: " + difference);
  }
  ++tallies[emitter.name.str()].passed;
}

int TargetConformance::run(llvm::StringRef part, int most) {
  std::vector<ConformanceCase> cases = contractionCases();
  for (auto more : {lookupCases(), attentionCases(), convolutionCases(), codeCases(), arrayCases(),
                    arrayProductCases()})
    cases.insert(cases.end(), more.begin(), more.end());
  // On the host's own target the reference would be compared with itself.
  bool isHost = &target == llvm::cantFail(hostTarget());
  llvm::ArrayRef<const KernelEmitter *> emitters = target.kernels.drop_back(isHost ? 1 : 0);
  for (const ConformanceCase &kernel : cases) {
    if (!llvm::StringRef(kernel.name).contains(part))
      continue;
    referenceImage.reset();
    referenceCalls.clear();
    int taken = 0;
    for (const KernelEmitter *emitter : emitters) {
      if (taken == most)
        break;
      if (!runCase(kernel, *emitter))
        continue;
      ++taken;
      if (kernel.fineToo && emitter->name.starts_with("contraction-"))
        runFine(kernel, *emitter);
    }
  }
  int passed = 0, failed = 0;
  for (const auto &[name, tally] : tallies) {
    std::printf("%-18s %-28s %4d passed, %d failed, %d not taken\n", target.name.c_str(),
                name.c_str(), tally.passed, tally.failed, tally.refused);
    passed += tally.passed;
    failed += tally.failed;
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed ? 1 : 0;
}

int main(int argc, char **argv) {
  std::string last = argc > 1 ? argv[argc - 1] : "";
  int most = last == "--all" ? std::numeric_limits<int>::max() : last == "--best" ? 1 : 2;
  argc -= most != 2;
  if ((argc != 3 && argc != 4) || std::string(argv[1]) != "--target") {
    std::fprintf(stderr, "usage: kiln_conformance --target NAME [PART OF A CASE'S NAME] "
                         "[--best|--all]\n"
                         "--best: only by the emitter that the target chooses; --all: by every "
                         "one that takes the kernel;\n"
                         "else by the one chosen and the next\n");
    return 2;
  }
  llvm::Expected<const Target *> target = findTarget(argv[2]);
  if (!target) {
    std::fprintf(stderr, "%s\n", llvm::toString(target.takeError()).c_str());
    return 2;
  }
  std::string reason;
  if (!canRun(**target, reason)) {
    std::printf("SKIP: %s: %s\n", argv[2], reason.c_str());
    return 77;
  }
  return TargetConformance(**target).run(argc == 4 ? argv[3] : "", most);
}
