// One element of a stored weight as a scalar.
#ifndef KILN_CODEGEN_REFERENCE_STOREDELEMENT_H
#define KILN_CODEGEN_REFERENCE_STOREDELEMENT_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>
#include <string>

namespace kiln {

/// Why elements of a weight of that type (a tensor with a `stored` encoding) cannot be read one by
/// one; nullopt where they can.
std::optional<std::string> refuseStoredElement(mlir::RankedTensorType type);

/// The f32 value of an element of the weight that lies at `base` (!llvm.ptr). `indices` are i64,
/// one per dim of the type.
mlir::Value emitStoredElement(mlir::ImplicitLocOpBuilder &b, mlir::Value base,
                              mlir::RankedTensorType type, mlir::ValueRange indices);

} // namespace kiln

#endif
