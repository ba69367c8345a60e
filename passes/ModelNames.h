// Names that the model gives its parts ("model.layers.3.mlp"), kept in locations.
#ifndef KILN_PASSES_MODELNAMES_H
#define KILN_PASSES_MODELNAMES_H

#include "mlir/IR/Location.h"
#include "llvm/ADT/ArrayRef.h"
#include <string>

namespace kiln {

/// The first name inside a location, or "".
llvm::StringRef getModelName(mlir::Location loc);

/// The leading dot-separated parts that all non-empty names share.
std::string getCommonModelName(llvm::ArrayRef<llvm::StringRef> names);

/// A location whose name is what the names of `locs` share. Where they share nothing it is the name
/// of `fallback`.
mlir::Location getCommonModelLocation(llvm::ArrayRef<mlir::Location> locs, mlir::Location fallback);

} // namespace kiln

#endif
