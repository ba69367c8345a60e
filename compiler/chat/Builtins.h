//===- Builtins.h - The filters, tests and methods that Jinja knows --------===//

#ifndef KILN_COMPILER_CHAT_BUILTINS_H
#define KILN_COMPILER_CHAT_BUILTINS_H

#include "chat_generated.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <optional>

namespace kiln::chat {

struct FilterInfo {
  schema::ChatFilter filter;
  /// The names of its arguments in their order; `variadic`: any number of them.
  llvm::ArrayRef<llvm::StringRef> parameters;
  unsigned required = 0;
  bool variadic = false;
};
std::optional<FilterInfo> findFilter(llvm::StringRef name);

struct TestInfo {
  schema::ChatTest test;
  llvm::StringRef parameter; // of the one argument that some take
};
std::optional<TestInfo> findTest(llvm::StringRef name);

/// Whether Jinja has this filter, or Python this method, but the machine has not.
bool isUnsupportedFilter(llvm::StringRef name);
bool isUnsupportedMethod(llvm::StringRef name);
/// Global functions of Jinja that the machine does not have.
bool isUnsupportedGlobal(llvm::StringRef name);

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_BUILTINS_H
