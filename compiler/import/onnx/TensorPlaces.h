// Where in a serialized model the bytes of its bigger tensors lie.
#ifndef KILN_COMPILER_IMPORT_ONNX_TENSORPLACES_H
#define KILN_COMPILER_IMPORT_ONNX_TENSORPLACES_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace kiln {

class TensorPlaces {
public:
  /// Tensors of fewer bytes are not looked for.
  static constexpr uint64_t smallest = 1024;

  TensorPlaces() = default;
  /// Looks through a serialized ModelProto, which must outlive this. What is malformed is passed
  /// over: protobuf's own parser says so.
  explicit TensorPlaces(llvm::ArrayRef<uint8_t> model);

  /// The offset of a tensor with exactly these bytes.
  std::optional<uint64_t> find(llvm::ArrayRef<uint8_t> values) const;

private:
  llvm::ArrayRef<uint8_t> model;
  std::multimap<uint64_t, uint64_t> offsetsByHash;
};

} // namespace kiln

#endif
