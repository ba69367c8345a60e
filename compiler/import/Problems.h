// What is wrong with an input, all of it: readers add to the list and go on as far as they can, so
// that a person sees every problem at once.
#ifndef KILN_COMPILER_IMPORT_PROBLEMS_H
#define KILN_COMPILER_IMPORT_PROBLEMS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace kiln {

class Problems {
public:
  /// Adds one line: "file: thing: expected …, found …". A value that is read twice is one problem.
  void add(const llvm::Twine &text) {
    std::string line = text.str();
    ++added;
    if (seen.insert(line).second)
      lines.push_back(std::move(line));
  }
  bool empty() const { return lines.empty(); }
  size_t size() const { return lines.size(); }
  /// How often `add` was called: whether a step had problems, even ones that were in the list.
  size_t getAdded() const { return added; }
  llvm::ArrayRef<std::string> getLines() const { return lines; }

  /// One error that holds every line under a first line "cannot import `what`: …".
  llvm::Error toError(llvm::StringRef what) const;

private:
  std::vector<std::string> lines;
  llvm::StringSet<> seen;
  size_t added = 0;
};

/// A name from a file made fit for a message: control bytes escaped, long names cut.
std::string printable(llvm::StringRef name);

/// "[64, 172]"
std::string printShape(llvm::ArrayRef<int64_t> shape);

} // namespace kiln

#endif
