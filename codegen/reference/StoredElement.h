// One element of a stored weight as a scalar.
#ifndef KILN_CODEGEN_REFERENCE_STOREDELEMENT_H
#define KILN_CODEGEN_REFERENCE_STOREDELEMENT_H

#include "codegen/PanelVectors.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>
#include <string>

namespace kiln {

/// Why elements of a weight of that type (a tensor with a `stored` encoding) cannot be read one by
/// one; nullopt where they can.
std::optional<std::string> refuseStoredElement(mlir::RankedTensorType type);

/// The f32 value, or the i8 code, of an element of the weight that lies at `base` (!llvm.ptr).
/// `indices` are i64, one per dim of the type.
mlir::Value emitStoredElement(mlir::ImplicitLocOpBuilder &b, mlir::Value base,
                              mlir::RankedTensorType type, mlir::ValueRange indices);

/// The scale of an element, and its group's min; f32, both exact. No min where the format has none.
struct StoredScale {
  mlir::Value scale, min;
};

/// That of element (lane, k), both i64, of the integer panel at `panel`.
StoredScale emitStoredScale(mlir::ImplicitLocOpBuilder &b, const PanelLayout &layout,
                            mlir::Value panel, mlir::Value lane, mlir::Value k);

} // namespace kiln

#endif
