//===- PagedTable.h - Values by code point, by pages -----------------------===//

#ifndef KILN_COMPILER_TOKENIZER_PAGEDTABLE_H
#define KILN_COMPILER_TOKENIZER_PAGEDTABLE_H

#include "compiler/tokenizer/CodePointSet.h"

#include <map>

namespace kiln::tokenizer {

/// A value for each code point, as runtime/schema/tokenizer.fbs stores them: blocks of 128 values,
/// equal ones once; the last page stands for all that follow.
template <typename T> struct PagedTable {
  std::vector<uint16_t> pages;
  std::vector<T> blocks;

  T operator[](uint32_t codePoint) const {
    size_t page = std::min<size_t>(codePoint / 128, pages.size() - 1);
    return blocks[pages[page] * 128 + codePoint % 128];
  }
};

/// The table whose value from starts[i] (ascending, the first is 0) to before starts[i + 1] is
/// values[i].
template <typename T>
PagedTable<T> makePagedTable(llvm::ArrayRef<uint32_t> starts, llvm::ArrayRef<T> values) {
  PagedTable<T> table;
  std::map<std::vector<T>, uint16_t> known;
  size_t range = 0;
  std::vector<T> block(128);
  for (uint32_t page = 0; page <= lastCodePoint / 128; ++page) {
    for (uint32_t i = 0; i < 128; ++i) {
      uint32_t codePoint = page * 128 + i;
      while (range + 1 < starts.size() && starts[range + 1] <= codePoint)
        ++range;
      block[i] = values[range];
      if (i == 0 && (range + 1 == starts.size() || starts[range + 1] >= codePoint + 128)) {
        block.assign(128, values[range]);
        break;
      }
    }
    auto [it, inserted] = known.try_emplace(block, static_cast<uint16_t>(known.size()));
    if (inserted)
      table.blocks.insert(table.blocks.end(), block.begin(), block.end());
    table.pages.push_back(it->second);
  }
  while (table.pages.size() > 1 && table.pages.back() == table.pages[table.pages.size() - 2])
    table.pages.pop_back();
  return table;
}

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_PAGEDTABLE_H
