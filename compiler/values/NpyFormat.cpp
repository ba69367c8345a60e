// Reads and writes .npy files. The header is a Python literal, a dict of three entries; just the
// grammar of those is understood. Sizes are checked against the bytes that are there before
// anything is allocated.
#include "compiler/values/NpyFormat.h"
#include "compiler/import/Problems.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include <cstring>

using namespace llvm;
using namespace kiln;

static constexpr size_t mostDims = 64;

namespace {
struct Descriptor {
  StringRef text; // without the byte order
  OnnxType type;
};

struct Header {
  std::string descriptor;
  bool fortran = false;
  std::vector<int64_t> dims;
};
} // namespace

static constexpr Descriptor descriptors[] = {
    {"b1", OnnxType::Bool},      {"i1", OnnxType::Int8},        {"u1", OnnxType::UInt8},
    {"i2", OnnxType::Int16},     {"u2", OnnxType::UInt16},      {"i4", OnnxType::Int32},
    {"u4", OnnxType::UInt32},    {"i8", OnnxType::Int64},       {"u8", OnnxType::UInt64},
    {"f2", OnnxType::Float16},   {"f4", OnnxType::Float},       {"f8", OnnxType::Double},
    {"c8", OnnxType::Complex64}, {"c16", OnnxType::Complex128},
};

static Error makeError(StringRef what, const Twine &text) {
  return createStringError(inconvertibleErrorCode(), printable(what) + ": " + text);
}

namespace {
/// The dict of a header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
public:
  HeaderParser(StringRef text) : rest(text) {}

  /// False where the text is something else; `problem` then says what was expected.
  bool parse(Header &header) {
    bool has[3] = {};
    if (!take("{"))
      return false;
    while (!peek("}")) {
      std::string key;
      if (!parseString(key) || !take(":"))
        return false;
      int index = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      if (index < 0 || has[index])
        return fail("each of the keys descr, fortran_order and shape once");
      has[index] = true;
      if (!(index == 0   ? parseString(header.descriptor)
            : index == 1 ? parseBool(header.fortran)
                         : parseShape(header.dims)))
        return false;
      if (!peek("}") && !take(","))
        return false;
    }
    take("}");
    if (!has[0] || !has[1] || !has[2])
      return fail("the keys descr, fortran_order and shape");
    return skip().empty() || fail("nothing after the dict");
  }

  std::string problem;

private:
  StringRef skip() { return rest = rest.ltrim(" \t\r\n"); }
  bool peek(StringRef text) { return skip().starts_with(text); }
  bool fail(const Twine &expected) {
    problem = "expected " + expected.str() + " at \"" + printable(rest.take_front(20)) + "\"";
    return false;
  }
  bool take(StringRef text) {
    skip();
    return rest.consume_front(text) || fail("'" + text + "'");
  }

  bool parseString(std::string &text) {
    skip();
    char quote = rest.empty() ? 0 : rest[0];
    if (quote != '\'' && quote != '"')
      return fail("a string (types with fields are not supported)");
    size_t end = rest.find(quote, 1);
    if (end == StringRef::npos || rest.slice(1, end).contains('\\'))
      return fail("a string");
    text = rest.slice(1, end).str();
    rest = rest.drop_front(end + 1);
    return true;
  }

  bool parseBool(bool &value) {
    skip();
    value = rest.consume_front("True");
    return value || rest.consume_front("False") || fail("True or False");
  }

  bool parseShape(std::vector<int64_t> &dims) {
    if (!take("("))
      return false;
    while (!peek(")")) {
      uint64_t extent;
      if (rest.starts_with("-") || dims.size() == mostDims || rest.consumeInteger(10, extent) ||
          extent > uint64_t(INT64_MAX))
        return fail("at most 64 dims from 0 to 2^63 - 1");
      rest.consume_front("L"); // Python 2
      dims.push_back(int64_t(extent));
      if (!peek(")") && !take(","))
        return false;
    }
    return take(")");
  }

  StringRef rest;
};
} // namespace

/// Splits the file into the text of its header and its elements.
static Error split(ArrayRef<uint8_t> bytes, StringRef what, StringRef &text,
                   ArrayRef<uint8_t> &elements) {
  StringRef all = toStringRef(bytes);
  if (!all.starts_with("\x93NUMPY"))
    return makeError(what, "is no .npy file: it does not begin with \\93NUMPY");
  if (bytes.size() < 10)
    return makeError(what, "ends within its header");
  unsigned version = bytes[6];
  if (version < 1 || version > 3)
    return makeError(what, "expected version 1, 2 or 3 of the format, found " + Twine(version));
  size_t start = version == 1 ? 10 : 12;
  if (bytes.size() < start)
    return makeError(what, "ends within its header");
  uint64_t length =
      version == 1 ? support::endian::read16le(&bytes[8]) : support::endian::read32le(&bytes[8]);
  if (length > bytes.size() - start)
    return makeError(what, "expected a header of " + Twine(length) +
                               " bytes, found the end of the "
                               "file after " +
                               Twine(bytes.size() - start));
  text = all.substr(start, length);
  elements = bytes.drop_front(start + length);
  return Error::success();
}

/// The type and the bytes of an element; whether they are the other way round.
static Error readDescriptor(StringRef descriptor, StringRef what, Value &value, bool &swapped) {
  StringRef text = descriptor;
  swapped = text.consume_front(">");
  if (!swapped && !text.consume_front("<") && !text.consume_front("|"))
    text.consume_front("=");
  for (const Descriptor &known : descriptors)
    if (known.text == text) {
      value.type = known.type;
      value.elementBytes = bytesInMemory(known.type);
      return Error::success();
    }
  if (text == "V1" || text == "V2") {
    value.elementBytes = text == "V1" ? 1 : 2;
    return Error::success();
  }
  return makeError(what, "expected elements that are numbers or booleans, found \"" +
                             printable(descriptor) + "\"");
}

/// From the first index fastest to the last index fastest.
static std::vector<uint8_t> transpose(ArrayRef<uint8_t> from, ArrayRef<int64_t> dims,
                                      unsigned bytes) {
  std::vector<uint8_t> to(from.size());
  std::vector<uint64_t> strides(dims.size());
  std::vector<int64_t> index(dims.size(), 0);
  uint64_t stride = bytes;
  for (size_t d = 0; d < dims.size(); ++d) {
    strides[d] = stride;
    stride *= uint64_t(dims[d]);
  }
  uint64_t at = 0;
  for (uint64_t out = 0; out < to.size(); out += bytes) {
    std::memcpy(&to[out], &from[at], bytes);
    for (size_t d = dims.size(); d-- > 0;) {
      at += strides[d];
      if (++index[d] < dims[d])
        break;
      at -= strides[d] * uint64_t(dims[d]);
      index[d] = 0;
    }
  }
  return to;
}

Expected<Value> kiln::parseNpy(ArrayRef<uint8_t> bytes, StringRef what) {
  StringRef text;
  ArrayRef<uint8_t> elements;
  if (Error error = split(bytes, what, text, elements))
    return error;
  Header header;
  HeaderParser parser(text);
  if (!parser.parse(header))
    return makeError(what, "header: " + parser.problem);
  Value value;
  bool swapped = false;
  if (Error error = readDescriptor(header.descriptor, what, value, swapped))
    return error;
  std::optional<int64_t> size = int64_t(value.elementBytes);
  bool empty = is_contained(header.dims, 0);
  for (int64_t extent : header.dims)
    if (size && extent != 0)
      size = checkedMul(*size, extent);
  if (!size)
    return makeError(what, printShape(header.dims) + " has more than 2^63 bytes");
  uint64_t expected = empty ? 0 : uint64_t(*size);
  if (elements.size() != expected)
    return makeError(what, "expected " + Twine(expected) + " bytes for " + printShape(header.dims) +
                               " of " + header.descriptor + ", found " + Twine(elements.size()));
  bool turn = header.fortran && header.dims.size() > 1;
  value.bytes = turn ? transpose(elements, header.dims, value.elementBytes) : elements.vec();
  value.dims = std::move(header.dims);
  bool isComplex = value.type == OnnxType::Complex64 || value.type == OnnxType::Complex128;
  unsigned unit = value.elementBytes / (isComplex ? 2 : 1);
  if (swapped)
    for (size_t i = 0; i < value.bytes.size(); i += unit)
      std::reverse(&value.bytes[i], &value.bytes[i] + unit);
  if (value.type == OnnxType::Bool)
    for (uint8_t &element : value.bytes)
      element = element != 0;
  return value;
}

Expected<std::string> kiln::makeNpyHeader(OnnxType type, ArrayRef<int64_t> dims) {
  unsigned bytes = bytesInMemory(type);
  if (bytes == 0)
    return createStringError(inconvertibleErrorCode(),
                             "a .npy file cannot hold " + nameOf(type).str());
  std::string descriptor = bytes == 1 ? "|V1" : "<V2";
  for (const Descriptor &known : descriptors)
    if (known.type == type)
      descriptor = ((bytes == 1 ? "|" : "<") + known.text).str();
  // 4-bit integers have a byte each, and a byte's type says more than none.
  if (type == OnnxType::Int4 || type == OnnxType::Int2)
    descriptor = "|i1";
  if (type == OnnxType::UInt4 || type == OnnxType::UInt2)
    descriptor = "|u1";
  std::string shape;
  for (int64_t extent : dims)
    shape += std::to_string(extent) + (dims.size() == 1 ? "," : ", ");
  if (dims.size() > 1)
    shape.resize(shape.size() - 2);
  std::string text =
      "{'descr': '" + descriptor + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  constexpr size_t prefix = 10;
  text.append(63 - (prefix + text.size()) % 64, ' '); // elements begin at a multiple of 64
  text += '\n';
  if (text.size() > UINT16_MAX)
    return createStringError(inconvertibleErrorCode(), "a .npy file cannot hold so many dims");
  std::string header("\x93NUMPY\x01\0", 8);
  header += char(text.size() & 255);
  header += char(text.size() >> 8);
  return header + text;
}
