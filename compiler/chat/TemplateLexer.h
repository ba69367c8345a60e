//===- TemplateLexer.h - The tokens of a Jinja template --------------------===//

#ifndef KILN_COMPILER_CHAT_TEMPLATELEXER_H
#define KILN_COMPILER_CHAT_TEMPLATELEXER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace kiln::chat {

struct Token {
  enum Kind {
    Data,
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name,
    Text,
    Integer,
    Real,
    Operator,
    End
  } kind = End;
  unsigned line = 1;
  std::string text; // of data, names and operators; the value of texts; the digits of numbers
};

/// Cuts a template into tokens, as Jinja does with trim_blocks and lstrip_blocks; comments are left
/// out, raw blocks are data. Ends with a token of kind End.
llvm::Expected<std::vector<Token>> tokenizeTemplate(llvm::StringRef source);

/// An error at a line of the template.
llvm::Error templateError(unsigned line, const llvm::Twine &message);

} // namespace kiln::chat

#endif // KILN_COMPILER_CHAT_TEMPLATELEXER_H
