// Arrays in files: .npy, and .pb as in ONNX's test data.
#ifndef KILN_COMPILER_VALUES_VALUEFILE_H
#define KILN_COMPILER_VALUES_VALUEFILE_H

#include "compiler/values/Value.h"

namespace kiln {

/// Reads a file by its suffix: .npy, or .pb with a serialized TensorProto.
llvm::Expected<Value> readValueFile(llvm::StringRef path);

/// Writes a .npy file; it gets its name when it is complete.
llvm::Error writeValueFile(llvm::StringRef path, const Value &value);

} // namespace kiln

#endif
