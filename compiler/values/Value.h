// An array outside of any model: what an input is read from a file as, and an output written.
#ifndef KILN_COMPILER_VALUES_VALUE_H
#define KILN_COMPILER_VALUES_VALUE_H

#include "compiler/import/onnx/OnnxModel.h"

namespace kiln {

struct Value {
  /// Undefined: elements of `elementBytes` bytes of which the file does not say what they are, as
  /// NumPy writes types that it does not know itself.
  OnnxType type = OnnxType::Undefined;
  unsigned elementBytes = 0;
  std::vector<int64_t> dims;
  /// Dense, row-major, little-endian, as the runtime takes it: elements below 8 bits have a byte
  /// each (integers sign-extended), booleans are 0 or 1.
  std::vector<uint8_t> bytes;

  int64_t count() const { return elementBytes ? int64_t(bytes.size() / elementBytes) : 0; }
};

/// Bytes of an element in memory; 0 for strings and unknown types.
unsigned bytesInMemory(OnnxType type);

/// Element `i` as a number: integers exactly up to 2^53. Complex elements give their real part.
double numberAt(const Value &value, int64_t i);
/// Stores `number` at element `i`, rounded to nearest even where the type is coarser and limited to
/// its range. False where the type cannot hold numbers.
bool storeNumber(Value &value, int64_t i, double number);

/// The value of a tensor, one byte per small element. Strings are refused.
llvm::Expected<Value> makeValue(const OnnxTensor &tensor, const OnnxModel *model);

} // namespace kiln

#endif
