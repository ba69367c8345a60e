// Reads the headers of safetensors files, after the format's description in the README of
// github.com/huggingface/safetensors: eight bytes of header length (little-endian), a JSON object
// from tensor names to dtype, shape and data_offsets, and the data, which the tensors cover from
// its first byte to its last without gap or overlap, each starting at a multiple of its element's
// size. Nothing in the file is believed: every sum and product is checked.
#include "compiler/import/SafetensorsFile.h"
#include "compiler/import/InputFile.h"
#include "compiler/import/JsonText.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/xxhash.h"
#include <tuple>

using namespace llvm;
using namespace kiln;
using nlohmann::json;

static constexpr uint64_t lengthBytes = 8;
static constexpr uint64_t longestHeader = 100000000; // the reference reader's limit

namespace {
struct Dtype {
  StringLiteral name;
  unsigned bits;
};
} // namespace

static constexpr Dtype dtypes[] = {
    {"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F8_E4M3", 8},
    {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
    {"I64", 64},    {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},
    {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8},    {"C64", 64},
};

static const Dtype *findDtype(StringRef name) {
  const Dtype *found = find_if(dtypes, [&](const Dtype &dtype) { return name == dtype.name; });
  return found == std::end(dtypes) ? nullptr : found;
}

/// The header's length where the file can hold it.
static std::optional<uint64_t> readLength(StringRef file, StringRef bytes, uint64_t fileSize,
                                          Problems &problems) {
  if (fileSize < lengthBytes || bytes.size() < lengthBytes) {
    problems.add(file + ": expected 8 bytes of header length, found a file of " + Twine(fileSize) +
                 " bytes");
    return std::nullopt;
  }
  uint64_t length = support::endian::read64le(bytes.data());
  if (length > fileSize - lengthBytes) {
    problems.add(file + ": header length: expected at most the " + Twine(fileSize - lengthBytes) +
                 " bytes that follow it, found " + Twine(length));
    return std::nullopt;
  }
  if (length > longestHeader) {
    problems.add(file + ": header length: expected at most " + Twine(longestHeader) + ", found " +
                 Twine(length));
    return std::nullopt;
  }
  return length;
}

namespace {
/// Parses the entries of one header.
class HeaderParser {
public:
  HeaderParser(StringRef file, uint64_t dataStart, uint64_t dataSize, Problems &problems)
      : file(file), dataStart(dataStart), dataSize(dataSize), problems(problems) {}

  bool parse(const json &header, std::vector<SafetensorsEntry> &entries) {
    for (const auto &[name, value] : header.items()) {
      if (name == "__metadata__") {
        checkMetadata(value);
        continue;
      }
      if (std::optional<SafetensorsEntry> entry = parseEntry(name, value))
        entries.push_back(std::move(*entry));
    }
    if (failed)
      return false;
    sort(entries, [](const SafetensorsEntry &a, const SafetensorsEntry &b) {
      return std::tie(a.offset, a.sizeBytes, a.name) < std::tie(b.offset, b.sizeBytes, b.name);
    });
    checkCover(entries);
    return !failed;
  }

private:
  void fail(StringRef name, const Twine &text) {
    failed = true;
    problems.add(file + ": " + printable(name) + ": " + text);
  }

  void checkMetadata(const json &value) {
    if (!value.is_object())
      return fail("__metadata__", "expected an object, found " + printJson(value));
    for (const auto &[key, text] : value.items())
      if (!text.is_string())
        fail("__metadata__", printable(key) + ": expected a string, found " + printJson(text));
  }

  std::optional<SafetensorsEntry> parseEntry(StringRef name, const json &value) {
    if (!value.is_object()) {
      fail(name, "expected an object, found " + printJson(value));
      return std::nullopt;
    }
    SafetensorsEntry entry;
    entry.name = name.str();
    const Dtype *dtype = parseDtype(name, value);
    bool hasShape = parseShape(name, value, entry.shape);
    std::optional<std::pair<uint64_t, uint64_t>> range = parseRange(name, value);
    if (!dtype || !hasShape || !range)
      return std::nullopt;
    entry.dtype = dtype->name.str();
    auto [begin, end] = *range;
    entry.offset = dataStart + begin; // both are at most the file's size
    entry.sizeBytes = end - begin;
    return checkSize(entry, *dtype, begin) ? std::optional(std::move(entry)) : std::nullopt;
  }

  const Dtype *parseDtype(StringRef name, const json &value) {
    auto place = value.find("dtype");
    if (place == value.end() || !place->is_string()) {
      fail(name, "dtype: expected a string, found " +
                     (place == value.end() ? "nothing" : printJson(*place)));
      return nullptr;
    }
    const Dtype *dtype = findDtype(place->get_ref<const std::string &>());
    if (!dtype)
      fail(name,
           "dtype: expected one of the format's (F32, F16, BF16, …), found " + printJson(*place));
    return dtype;
  }

  bool parseShape(StringRef name, const json &value, std::vector<int64_t> &shape) {
    auto place = value.find("shape");
    bool sound =
        place != value.end() && place->is_array() && all_of(*place, [](const json &extent) {
          return extent.is_number_unsigned() && extent.get<uint64_t>() <= uint64_t(INT64_MAX);
        });
    if (!sound) {
      fail(name, "shape: expected an array of numbers from 0, found " +
                     (place == value.end() ? "nothing" : printJson(*place)));
      return false;
    }
    for (const json &extent : *place)
      shape.push_back(int64_t(extent.get<uint64_t>()));
    return true;
  }

  std::optional<std::pair<uint64_t, uint64_t>> parseRange(StringRef name, const json &value) {
    auto place = value.find("data_offsets");
    bool sound = place != value.end() && place->is_array() && place->size() == 2 &&
                 all_of(*place, [](const json &offset) { return offset.is_number_unsigned(); });
    if (!sound) {
      fail(name, "data_offsets: expected [begin, end], found " +
                     (place == value.end() ? "nothing" : printJson(*place)));
      return std::nullopt;
    }
    uint64_t begin = (*place)[0].get<uint64_t>(), end = (*place)[1].get<uint64_t>();
    if (begin > end || end > dataSize) {
      fail(name, "data_offsets: expected begin <= end <= " + Twine(dataSize) +
                     " (the bytes after the header), found " + printJson(*place));
      return std::nullopt;
    }
    return std::pair(begin, end);
  }

  bool checkSize(const SafetensorsEntry &entry, const Dtype &dtype, uint64_t begin) {
    std::optional<uint64_t> bits = dtype.bits;
    for (int64_t extent : entry.shape)
      if (bits)
        bits = checkedMulUnsigned<uint64_t>(*bits, uint64_t(extent));
    // A product that overflowed may come back to 0 in a later dim; an empty tensor has no size to
    // overflow.
    if (is_contained(entry.shape, 0))
      bits = 0;
    std::string what = (dtype.name + " " + printShape(entry.shape)).str();
    if (!bits || *bits % 8 != 0) {
      fail(entry.name, what + (bits ? " does not fill whole bytes" : " has more bytes than 2^61"));
      return false;
    }
    if (*bits / 8 != entry.sizeBytes) {
      fail(entry.name, "data_offsets: expected " + Twine(*bits / 8) + " bytes for " + what +
                           ", found " + Twine(entry.sizeBytes));
      return false;
    }
    uint64_t alignment = dtype.bits >= 8 ? dtype.bits / 8 : 1;
    if (begin % alignment != 0) {
      fail(entry.name, "data_offsets: expected a multiple of " + Twine(alignment) + " for " +
                           dtype.name + ", found " + Twine(begin));
      return false;
    }
    return true;
  }

  /// Entries in the order of their bytes must cover the data exactly.
  void checkCover(const std::vector<SafetensorsEntry> &entries) {
    uint64_t covered = 0;
    StringRef previous;
    for (const SafetensorsEntry &entry : entries) {
      uint64_t begin = entry.offset - dataStart, end = begin + entry.sizeBytes;
      if (begin < covered)
        fail(entry.name, "data_offsets: [" + Twine(begin) + ", " + Twine(end) + "] overlap " +
                             printable(previous) + ", which ends at " + Twine(covered));
      else if (begin > covered)
        fail(entry.name, "data_offsets: bytes " + Twine(covered) + " to " + Twine(begin) +
                             " before it belong to no tensor");
      if (end > covered)
        covered = end, previous = entry.name;
    }
    if (covered != dataSize && !failed) {
      failed = true;
      problems.add(file + ": data: expected to end with the last tensor at byte " + Twine(covered) +
                   ", found " + Twine(dataSize) + " bytes");
    }
  }

  StringRef file;
  uint64_t dataStart, dataSize;
  Problems &problems;
  bool failed = false;
};
} // namespace

std::optional<SafetensorsHeader> kiln::parseSafetensorsHeader(StringRef file, StringRef bytes,
                                                              uint64_t fileSize,
                                                              Problems &problems) {
  std::string name = printable(file);
  std::optional<uint64_t> length = readLength(name, bytes, fileSize, problems);
  if (!length)
    return std::nullopt;
  StringRef text = bytes.drop_front(lengthBytes).take_front(*length);
  if (text.size() < *length || !text.starts_with("{")) {
    problems.add(name + ": header: expected a JSON object that begins with '{'");
    return std::nullopt;
  }
  JsonLimits limits;
  limits.depth = 4; // header, tensor, shape and one to spare
  std::optional<json> header = parseJson(name + ": header", text, limits, problems);
  if (!header)
    return std::nullopt;
  uint64_t dataStart = lengthBytes + *length;
  SafetensorsHeader result;
  result.hash = xxHash64(text);
  HeaderParser parser(name, dataStart, fileSize - dataStart, problems);
  if (!parser.parse(*header, result.tensors))
    return std::nullopt;
  return result;
}

std::optional<SafetensorsHeader> kiln::readSafetensorsHeader(StringRef path, StringRef file,
                                                             Problems &problems) {
  std::optional<InputFile> input = InputFile::open(path, file, problems);
  if (!input)
    return std::nullopt;
  std::string bytes;
  if (!input->read(0, std::min(lengthBytes, input->getSize()), bytes, problems))
    return std::nullopt;
  std::optional<uint64_t> length = readLength(printable(file), bytes, input->getSize(), problems);
  if (!length || !input->read(lengthBytes, *length, bytes, problems))
    return std::nullopt;
  return parseSafetensorsHeader(file, bytes, input->getSize(), problems);
}
