// The list of what is wrong with an input and its text.
#include "compiler/import/Problems.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace kiln;

Error Problems::toError(StringRef what) const {
  std::string text;
  raw_string_ostream stream(text);
  stream << "cannot import " << printable(what) << ": " << lines.size()
         << (lines.size() == 1 ? " problem" : " problems");
  for (const std::string &line : lines)
    stream << "\n  " << line;
  return createStringError(inconvertibleErrorCode(), text);
}

std::string kiln::printable(StringRef name) {
  constexpr size_t longest = 200;
  std::string text;
  raw_string_ostream stream(text);
  printEscapedString(name.take_front(longest), stream);
  if (name.size() > longest)
    stream << "…";
  return text;
}

std::string kiln::printShape(ArrayRef<int64_t> shape) {
  std::string text;
  raw_string_ostream stream(text);
  stream << '[';
  interleaveComma(shape, stream);
  stream << ']';
  return text;
}
