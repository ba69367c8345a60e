// What a conformance case is: a kernel's text, buffers for a number of rows, and how far a fast
// kernel's results may be from the reference's.
#ifndef KILN_TESTS_CONFORMANCE_CONFORMANCE_H
#define KILN_TESTS_CONFORMANCE_CONFORMANCE_H

#include "KernelHarness.h"
#include "compiler/import/onnx/OnnxModel.h"
#include <functional>
#include <map>

namespace kiln::test {

/// Buffers and dims of one call.
struct Call {
  std::vector<Buffer<uint8_t>> buffers; // of the kernel's reads and writes, in order
  std::vector<int64_t> dims;
  /// Buffers of which not a byte behind their last may be touched, or be at any alignment.
  std::vector<size_t> fenced = {};
  /// Each buffer that the kernel writes: its f32 (or f16) elements are compared. For padded rows
  /// only the first `columns` of each `stride` count.
  struct Result {
    size_t buffer;
    int64_t columns, stride;
    bool half = false;
    bool nan = false;         // holds NaN where nothing was written, in the reference too
    int64_t integerBytes = 0; // of an integer; those are equal
  };
  std::vector<Result> results;
  /// What a buffer that the kernel writes must hold, where the case knows it itself.
  struct Expected {
    size_t buffer;
    OnnxType type;
    int64_t columns, stride;
    std::vector<double> values; // of the columns of all rows
    double relative, absolute;
  };
  std::vector<Expected> expected;
};

struct ConformanceCase {
  std::string name;
  std::string body; // of exec.kernel @kernel
  std::vector<int64_t> strides;
  std::vector<std::string> dims;
  std::function<Call(int64_t rows)> call;
  /// Relative RMS error allowed where activations are rounded to 8 bits on the way; 0 where nothing
  /// may be.
  double roundingBound = 0;
  /// Rows from which a matrix unit may take row 0; 0: the unit's own minimum.
  int64_t manyRows = 0;
  /// Whether a row's results depend on its neighbours: on how many rows there are.
  bool rowsMatter = false;
  /// Also run with Target::fineActivations.
  bool fineToo = false;
  /// The emitter that says what is right; the last of the list where empty.
  std::string reference = "";
  /// Numbers of rows, where not the usual ones.
  std::vector<int64_t> counts = {};
};

std::vector<ConformanceCase> contractionCases();
std::vector<ConformanceCase> lookupCases();
std::vector<ConformanceCase> attentionCases();
std::vector<ConformanceCase> convolutionCases();
std::vector<ConformanceCase> arrayCases();
std::vector<ConformanceCase> arrayProductCases();
std::vector<ConformanceCase> codeCases();

/// "tensor<?xCOLUMNSxf32, #graph.dims<@DIM>>"
std::string rowsType(int64_t columns, const std::string &dim = "n");
/// "tensor<?xi32, #graph.dims<@DIM>>"
std::string indexType(const std::string &dim = "n");
/// "tensor<SIZExf32, #graph.stored<"f32", "rows">>"
std::string vectorType(int64_t size);
int64_t paddedColumns(int64_t columns);

/// Activations [rows, columns] with rows padded to 16; the padding holds NaN, which no kernel may
/// use.
Buffer<uint8_t> randomRows(int64_t rows, int64_t columns, unsigned seed, float scale = 1);
Buffer<uint8_t> randomVector(int64_t size, unsigned seed, float scale = 1);
Buffer<uint8_t> indices(const std::vector<int32_t> &values);
/// Zeroed memory for a result of rows.
Buffer<uint8_t> emptyRows(int64_t rows, int64_t stride);

} // namespace kiln::test

#endif
