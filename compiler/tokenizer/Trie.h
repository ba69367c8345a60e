//===- Trie.h - Strings with values as a double array ----------------------===//

#ifndef KILN_COMPILER_TOKENIZER_TRIE_H
#define KILN_COMPILER_TOKENIZER_TRIE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kiln::tokenizer {

/// The units of runtime/schema/tokenizer.fbs's Trie. Fails where there are more strings than 23
/// bits can number.
llvm::Expected<std::vector<uint32_t>> buildTrie(const std::map<std::string, uint32_t> &strings);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_TRIE_H
