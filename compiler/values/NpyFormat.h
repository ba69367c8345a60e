// NumPy's .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#ifndef KILN_COMPILER_VALUES_NPYFORMAT_H
#define KILN_COMPILER_VALUES_NPYFORMAT_H

#include "compiler/values/Value.h"

namespace kiln {

/// Versions 1 to 3, either byte order, either order of elements. Structured types, objects and
/// strings are refused. `what` is what messages call the file.
llvm::Expected<Value> parseNpy(llvm::ArrayRef<uint8_t> bytes, llvm::StringRef what);

/// Everything before the elements, version 1. Types that NumPy has not are "V1" or "V2", which
/// `array.view(dtype)` makes of ml_dtypes' types.
llvm::Expected<std::string> makeNpyHeader(OnnxType type, llvm::ArrayRef<int64_t> dims);

} // namespace kiln

#endif
