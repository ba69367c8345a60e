//===- ReadCharsmap.cpp - SentencePiece's precompiled maps -----------------===//
//
// A precompiled charsmap is, little-endian, the size of a double array in bytes, the double array
// (darts-clone: 32-bit units, children by exclusive or), and strings that end in a zero byte, to
// which the array's values are offsets. All strings that the array holds are read out of it, so
// that what is written is our own table. The format: sentencepiece, src/normalizer.cc, and
// darts-clone.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr size_t maxKeyBytes = 64, maxValueBytes = 255, maxKeys = 1u << 20;
constexpr size_t maxVisits = 1u << 22;

struct CharsmapReader {
  StringRef array, values;
  std::map<std::string, std::string> strings;
  std::string key, problem;
  size_t visits = 0;

  size_t units() const { return array.size() / 4; }
  uint32_t unit(size_t index) const {
    return llvm::support::endian::read32le(array.data() + 4 * index);
  }

  bool fail(const Twine &what) {
    problem = ("precompiled_charsmap: " + what).str();
    return false;
  }

  static uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }
  static uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }

  bool addValue(uint32_t unit) {
    uint32_t at = unit & 0x7FFFFFFF;
    if (at >= values.size())
      return fail("a value at " + Twine(at) + " lies outside the " + Twine(values.size()) +
                  " bytes of texts");
    StringRef text = values.substr(at);
    size_t end = text.find('\0');
    if (end == StringRef::npos || end > maxValueBytes)
      return fail("a text is not ended, or longer than " + Twine(maxValueBytes) + " bytes");
    if (strings.size() == maxKeys)
      return fail("more than " + Twine(maxKeys) + " strings");
    strings[key] = text.take_front(end).str();
    return true;
  }

  /// Reads the strings that begin with `key`, whose unit is at `index`.
  bool readFrom(size_t index) {
    if (++visits > maxVisits || key.size() > maxKeyBytes)
      return fail("the array has no end");
    uint32_t node = unit(index);
    size_t base = index ^ offset(node);
    if ((node >> 8 & 1) != 0 && !key.empty()) {
      if (base >= units())
        return fail("a value lies outside the array");
      if (!addValue(unit(base)))
        return false;
    }
    for (unsigned byte = 1; byte < 256; ++byte) {
      size_t child = base ^ byte;
      if (child >= units() || label(unit(child)) != byte)
        continue;
      key.push_back(static_cast<char>(byte));
      if (!readFrom(child))
        return false;
      key.pop_back();
    }
    return true;
  }
};

} // namespace

Expected<std::map<std::string, std::string>> kiln::tokenizer::readCharsmap(StringRef bytes) {
  if (bytes.empty())
    return std::map<std::string, std::string>();
  size_t arrayBytes = bytes.size() < 4 ? 0 : llvm::support::endian::read32le(bytes.data());
  if (arrayBytes < 4 || arrayBytes % 4 != 0 || arrayBytes > bytes.size() - 4)
    return llvm::createStringError("precompiled_charsmap: an array of " + Twine(arrayBytes) +
                                   " bytes does not fit in " + Twine(bytes.size()) + " bytes");
  CharsmapReader reader;
  reader.array = bytes.substr(4, arrayBytes);
  reader.values = bytes.substr(4 + arrayBytes);
  if (!reader.readFrom(0))
    return llvm::createStringError(reader.problem);
  return std::move(reader.strings);
}
