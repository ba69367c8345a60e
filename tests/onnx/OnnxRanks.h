// Models whose inputs have other ranks than their operators take.
#ifndef KILN_TESTS_ONNX_ONNXRANKS_H
#define KILN_TESTS_ONNX_ONNXRANKS_H

#include "llvm/Support/Error.h"

namespace kiln::onnxtest {

/// Imports the folder's model once for each input and each other rank up to 5, with dims of 2, the
/// model's other shapes being left away: each is refused with a message, or makes a module that
/// verifies. A crash is the caller's to see.
llvm::Error tryRanks(llvm::StringRef folder);

} // namespace kiln::onnxtest

#endif
