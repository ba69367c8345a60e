//===- ReadSteps.h - What readers of steps share ---------------------------===//

#ifndef KILN_COMPILER_TOKENIZER_READSTEPS_H
#define KILN_COMPILER_TOKENIZER_READSTEPS_H

#include "compiler/tokenizer/Pattern.h"
#include "compiler/tokenizer/ReadJson.h"

namespace kiln::tokenizer {

/// The elements of a sequence, unless there are too many.
std::vector<const Json *> readSequence(const JsonObject &object, llvm::StringRef key);
/// The pattern {"String": ..} or {"Regex": ..}.
llvm::Expected<PatternNode> readPattern(const JsonObject &object);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_READSTEPS_H
