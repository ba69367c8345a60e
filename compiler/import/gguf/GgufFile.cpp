// Reads the headers of GGUF files, after the format's description in ggml's docs/gguf.md: magic,
// version, counts, key-values, tensor infos, padding to the alignment, data. Nothing in the file is
// believed: every length is held against the bytes that remain before anything of that size is
// allocated, and every sum and product is checked. How long the header is only shows while it is
// parsed, so it is parsed out of a prefix of the file that is doubled until it suffices.
#include "compiler/import/gguf/GgufFile.h"
#include "compiler/import/InputFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/xxhash.h"
#include <tuple>

using namespace llvm;
using namespace kiln;

static constexpr uint64_t firstPrefix = 1 << 20;
static constexpr uint64_t longestHeader = 512u << 20;
static constexpr uint64_t longestName = 65535; // of keys, as the format says; of tensors too
static constexpr uint64_t mostDims = 4;
static constexpr unsigned mostNestedArrays = 4;
static constexpr uint64_t defaultAlignment = 32;
// The fewest bytes that one of them takes in a file.
static constexpr uint64_t smallestString = 8, smallestArray = 12, smallestKeyValue = 8 + 1 + 4 + 1,
                          smallestTensor = 8 + 1 + 4 + 4 + 8;

/// Bytes of a value of fixed size; 0 of strings and arrays.
static uint64_t valueBytes(GgufValueType type) {
  switch (type) {
  case GgufValueType::UInt8:
  case GgufValueType::Int8:
  case GgufValueType::Bool:
    return 1;
  case GgufValueType::UInt16:
  case GgufValueType::Int16:
    return 2;
  case GgufValueType::UInt32:
  case GgufValueType::Int32:
  case GgufValueType::Float32:
    return 4;
  case GgufValueType::UInt64:
  case GgufValueType::Int64:
  case GgufValueType::Float64:
    return 8;
  case GgufValueType::String:
  case GgufValueType::Array:
    break;
  }
  return 0;
}

/// Names of ggml's types that are no weights' here, for the message that refuses them.
static StringRef nameOtherType(uint32_t type) {
  switch (type) {
  case 9:
    return " (Q8_1)";
  case 15:
    return " (Q8_K)";
  case 16:
  case 17:
  case 22:
    return " (IQ2)";
  case 18:
  case 21:
    return " (IQ3)";
  case 19:
  case 29:
    return " (IQ1)";
  case 24:
  case 25:
  case 26:
  case 27:
    return " (integers)";
  case 28:
    return " (F64)";
  case 34:
  case 35:
    return " (ternary)";
  case 40:
    return " (NVFP4)";
  default:
    return "";
  }
}

namespace kiln {
/// Parses one header. Every step returns false where the rest cannot be read any more; what is
/// wrong with a single value or tensor is reported and does not stop the others.
class GgufParser {
public:
  GgufParser(StringRef file, std::shared_ptr<const std::string> prefix, uint64_t fileSize,
             Problems &problems)
      : file(printable(file)), prefix(std::move(prefix)), bytes(*this->prefix), fileSize(fileSize),
        problems(problems) {}

  std::optional<GgufHeader> parse() {
    GgufHeader header;
    header.metadata.file = file;
    header.metadata.header = prefix;
    uint64_t tensorCount, valueCount;
    if (!parseStart(header.version, tensorCount, valueCount) ||
        !parseValues(header.metadata, valueCount) || !parseTensors(header.tensors, tensorCount))
      return std::nullopt;
    header.hash = xxHash64(bytes.take_front(at));
    std::optional<uint64_t> alignment = parseAlignment(header.metadata);
    if (!alignment || failed || !placeTensors(*alignment, header.tensors))
      return std::nullopt;
    return failed ? std::nullopt : std::optional(std::move(header));
  }

  /// Whether parsing ended where the prefix did and not the file.
  bool needsMore() const { return prefixEnded; }

private:
  bool fail(const Twine &what, const Twine &text) {
    failed = true;
    problems.add(file + ": " + what + ": " + text);
    return false;
  }

  // ---- Bytes ------------------------------------------------------------------------------------

  uint64_t remaining() const { return fileSize - at; }

  bool take(uint64_t count, const Twine &what, StringRef &taken) {
    if (count > remaining())
      return fail(what, "expected " + Twine(count) + " bytes at byte " + Twine(at) +
                            ", found the end of the file after " + Twine(remaining()));
    if (count > bytes.size() - at) {
      prefixEnded = true;
      return fail("header", "expected to end within its first " + Twine(bytes.size()) + " bytes");
    }
    taken = bytes.substr(at, count);
    at += count;
    return true;
  }

  template <typename T> bool takeNumber(const Twine &what, T &number) {
    StringRef taken;
    if (!take(sizeof(T), what, taken))
      return false;
    number = support::endian::read<T>(taken.data(), endianness::little);
    return true;
  }

  /// A count of things that take `smallest` bytes at least.
  bool takeCount(const Twine &what, uint64_t smallest, uint64_t &count) {
    if (!takeNumber(what, count))
      return false;
    if (count > remaining() / smallest)
      return fail(what, "expected at most " + Twine(remaining() / smallest) +
                            ", for which the remaining " + Twine(remaining()) +
                            " bytes have room, found " + Twine(count));
    return true;
  }

  bool takeString(const Twine &what, StringRef &text) {
    uint64_t length;
    return takeCount(what + ": length", 1, length) && take(length, what, text);
  }

  bool takeName(const Twine &what, StringRef &name) {
    if (!takeString(what, name))
      return false;
    if (name.empty() || name.size() > longestName || name.contains('\0'))
      return fail(what, "expected 1 to " + Twine(longestName) + " bytes without NUL, found \"" +
                            printable(name) + "\" of " + Twine(name.size()));
    return true;
  }

  // ---- Parts ------------------------------------------------------------------------------------

  bool parseStart(uint32_t &version, uint64_t &tensorCount, uint64_t &valueCount) {
    StringRef magic;
    if (!take(4, "magic", magic))
      return false;
    if (magic != "GGUF")
      return fail("magic", "expected GGUF, found \"" + printable(magic) + "\"");
    if (!takeNumber("version", version))
      return false;
    if (version != 0 && (version & 0xFFFF) == 0)
      return fail("version", "expected a little-endian file, found a big-endian one");
    if (version != 2 && version != 3)
      return fail("version", "expected 2 or 3, found " + Twine(version));
    return takeCount("number of tensors", smallestTensor, tensorCount) &&
           takeCount("number of key-values", smallestKeyValue, valueCount);
  }

  bool takeType(const Twine &what, GgufValueType &type) {
    uint32_t number;
    if (!takeNumber(what, number))
      return false;
    if (number > uint32_t(GgufValueType::Float64))
      return fail(what, "expected a type from 0 to 12, found " + Twine(number));
    type = GgufValueType(number);
    return true;
  }

  bool skipArray(const std::string &what, unsigned depth) {
    GgufValueType type = GgufValueType::UInt8;
    uint64_t count = 0;
    return takeArrayStart(what, type, count) && skipElements(what, type, count, depth);
  }

  bool takeArrayStart(const std::string &what, GgufValueType &type, uint64_t &count) {
    if (!takeType(what + ": element type", type))
      return false;
    uint64_t smallest = type == GgufValueType::String  ? smallestString
                        : type == GgufValueType::Array ? smallestArray
                                                       : valueBytes(type);
    return takeCount(what + ": number of elements", smallest, count);
  }

  bool skipElements(const std::string &what, GgufValueType type, uint64_t count, unsigned depth) {
    if (type == GgufValueType::Array) {
      if (depth == mostNestedArrays)
        return fail(what, "expected at most " + Twine(mostNestedArrays) +
                              " arrays inside each other, found more");
      for (uint64_t i = 0; i < count; ++i)
        if (!skipArray(what, depth + 1))
          return false;
      return true;
    }
    StringRef skipped;
    if (type != GgufValueType::String) // takeCount has kept the product below the file's size
      return take(count * valueBytes(type), what, skipped) && checkBools(what, type, skipped);
    for (uint64_t i = 0; i < count; ++i)
      if (!takeString(what, skipped))
        return false;
    return true;
  }

  bool checkBools(const std::string &what, GgufValueType type, StringRef values) {
    if (type != GgufValueType::Bool)
      return true;
    for (char value : values)
      if (value != 0 && value != 1)
        return fail(what, "expected bools of 0 or 1, found " + Twine(unsigned(uint8_t(value))));
    return true;
  }

  bool parseValues(GgufMetadata &metadata, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      StringRef key;
      if (!takeName("key " + Twine(i), key))
        return false;
      std::string what = printable(key);
      GgufMetadata::Value value = {GgufValueType::Array, false, 1, ""};
      if (!takeType(what + ": type", value.type))
        return false;
      value.isArray = value.type == GgufValueType::Array;
      if (value.isArray && !takeArrayStart(what, value.type, value.count))
        return false;
      uint64_t begin = at;
      if (!skipElements(what, value.type, value.count, 1))
        return false;
      if (value.type != GgufValueType::Array)
        value.bytes = bytes.slice(begin, at);
      if (metadata.values.try_emplace(key, value).second)
        metadata.keys.push_back(key);
      else
        fail(what, "is there twice");
    }
    return true;
  }

  bool parseTensors(std::vector<GgufTensor> &tensors, uint64_t count) {
    StringSet<> names;
    for (uint64_t i = 0; i < count; ++i) {
      StringRef name;
      uint32_t dims, type;
      if (!takeName("name of tensor " + Twine(i), name))
        return false;
      std::string what = printable(name);
      if (!takeNumber(what + ": number of dims", dims))
        return false;
      if (dims > mostDims)
        return fail(what, "expected at most " + Twine(mostDims) + " dims, found " + Twine(dims));
      GgufTensor tensor = {name.str(), nullptr, {}, 0, 0};
      bool sound = true;
      for (uint32_t dim = 0; dim < dims; ++dim) {
        uint64_t extent;
        if (!takeNumber(what + ": dims", extent))
          return false;
        if (extent < 1 || extent > uint64_t(INT64_MAX))
          sound = fail(what, "expected dims from 1 to 2^63 - 1, found " + Twine(extent));
        tensor.shape.push_back(int64_t(extent));
      }
      std::reverse(tensor.shape.begin(), tensor.shape.end()); // the file has the innermost first
      if (!takeNumber(what + ": type", type) || !takeNumber(what + ": offset", tensor.offset))
        return false;
      if (!names.insert(name).second)
        sound = fail(what, "is there twice");
      tensor.type = findGgufType(type);
      if (!tensor.type)
        sound = fail(what, "type: expected one of " + listBlockTypes() + ", found number " +
                               Twine(type) + nameOtherType(type));
      if (sound && measure(tensor))
        tensors.push_back(std::move(tensor));
    }
    return true;
  }

  bool measure(GgufTensor &tensor) {
    std::string what = printable(tensor.name);
    uint64_t columns = tensor.shape.empty() ? 1 : uint64_t(tensor.shape.back());
    if (columns % uint64_t(tensor.type->elements) != 0)
      return fail(what, "expected rows of whole blocks of " + Twine(tensor.type->elements) + " (" +
                            tensor.type->name + "), found " + printShape(tensor.shape));
    std::optional<uint64_t> size =
        checkedMulUnsigned(columns / uint64_t(tensor.type->elements), uint64_t(tensor.type->bytes));
    for (int64_t extent : ArrayRef(tensor.shape).drop_back(tensor.shape.empty() ? 0 : 1))
      if (size)
        size = checkedMulUnsigned(*size, uint64_t(extent));
    if (!size)
      return fail(what, printShape(tensor.shape) + " has more bytes than 2^64");
    tensor.sizeBytes = *size;
    return true;
  }

  std::optional<uint64_t> parseAlignment(const GgufMetadata &metadata) {
    StringRef key = "general.alignment";
    if (!metadata.has(key))
      return defaultAlignment;
    size_t before = problems.getAdded();
    std::optional<uint64_t> alignment = metadata.getUnsigned(key, problems);
    if (alignment && isPowerOf2_64(*alignment) && *alignment <= UINT32_MAX)
      return alignment;
    failed = true;
    if (problems.getAdded() == before)
      fail(key, "expected a power of two below 2^32, found " + metadata.print(key));
    return std::nullopt;
  }

  /// Turns offsets into places in the file.
  bool placeTensors(uint64_t alignment, std::vector<GgufTensor> &tensors) {
    if (tensors.empty())
      return true; // a file of a vocabulary alone, which need not be padded
    std::optional<uint64_t> padded = checkedAddUnsigned(at, alignment - 1);
    uint64_t dataStart = padded ? *padded & ~(alignment - 1) : 0;
    if (!padded || dataStart > fileSize)
      return fail("data", "expected to begin at a multiple of " + Twine(alignment) +
                              " after byte " + Twine(at) + ", found a file of " + Twine(fileSize) +
                              " bytes");
    uint64_t dataSize = fileSize - dataStart;
    for (GgufTensor &tensor : tensors) {
      std::string what = printable(tensor.name);
      if (tensor.offset % alignment != 0)
        fail(what, "offset: expected a multiple of " + Twine(alignment) + ", found " +
                       Twine(tensor.offset));
      else if (tensor.offset > dataSize || tensor.sizeBytes > dataSize - tensor.offset)
        fail(what, "expected " + Twine(tensor.sizeBytes) + " bytes at offset " +
                       Twine(tensor.offset) + " of the data, found data of " + Twine(dataSize));
      else
        tensor.offset += dataStart;
    }
    if (failed)
      return false;
    sort(tensors, [](const GgufTensor &a, const GgufTensor &b) {
      return std::tie(a.offset, a.name) < std::tie(b.offset, b.name);
    });
    for (size_t i = 1; i < tensors.size(); ++i) {
      const GgufTensor &before = tensors[i - 1], &tensor = tensors[i];
      if (tensor.offset - before.offset < before.sizeBytes)
        fail(printable(tensor.name), "its bytes from " + Twine(tensor.offset) + " overlap " +
                                         printable(before.name) + ", which ends at " +
                                         Twine(before.offset + before.sizeBytes));
    }
    return !failed;
  }

  std::string file;
  std::shared_ptr<const std::string> prefix;
  StringRef bytes;
  uint64_t fileSize, at = 0;
  Problems &problems;
  bool failed = false, prefixEnded = false;
};
} // namespace kiln

std::optional<GgufHeader> kiln::parseGgufHeader(StringRef file, StringRef bytes, uint64_t fileSize,
                                                Problems &problems) {
  bytes = bytes.take_front(fileSize);
  return GgufParser(file, std::make_shared<const std::string>(bytes.str()), fileSize, problems)
      .parse();
}

std::optional<GgufHeader> kiln::readGgufHeader(StringRef path, StringRef file, Problems &problems) {
  std::optional<InputFile> input = InputFile::open(path, file, problems);
  if (!input)
    return std::nullopt;
  uint64_t size = input->getSize();
  for (uint64_t wanted = firstPrefix;; wanted *= 2) {
    auto prefix = std::make_shared<std::string>();
    if (!input->read(0, std::min({wanted, size, longestHeader}), *prefix, problems))
      return std::nullopt;
    Problems found; // a prefix that is too short is no problem of the file
    GgufParser parser(file, prefix, size, found);
    std::optional<GgufHeader> header = parser.parse();
    if (parser.needsMore() && wanted < longestHeader)
      continue;
    for (const std::string &line : found.getLines())
      problems.add(line);
    return header;
  }
}
