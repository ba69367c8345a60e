// Typed reading of a GGUF file's key-values out of the header's bytes, which the parser has
// checked: every value's bytes are there, and strings end within them.
#include "compiler/import/gguf/GgufFile.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/raw_ostream.h"
#include <limits>

using namespace llvm;
using namespace kiln;

namespace {
/// An element of a fixed-size type.
struct Number {
  enum { Signed, Unsigned, Floating, None } kind;
  int64_t asSigned = 0;
  uint64_t asUnsigned = 0;
  double asDouble = 0;
};
} // namespace

template <typename T> static T readLittle(const char *bytes) {
  return support::endian::read<T>(bytes, endianness::little);
}

static Number makeSigned(int64_t value) { return {Number::Signed, value, 0, double(value)}; }
static Number makeUnsigned(uint64_t value) { return {Number::Unsigned, 0, value, double(value)}; }
static Number makeFloating(double value) { return {Number::Floating, 0, 0, value}; }

static float readFloat(const char *bytes) {
  uint32_t word = readLittle<uint32_t>(bytes);
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

static double readDouble(const char *bytes) {
  uint64_t word = readLittle<uint64_t>(bytes);
  double value;
  memcpy(&value, &word, sizeof value);
  return value;
}

/// Element `index` of values of one type.
static Number readNumber(GgufValueType type, StringRef values, uint64_t index) {
  const char *bytes = values.data();
  switch (type) {
  case GgufValueType::UInt8:
  case GgufValueType::Bool:
    return makeUnsigned(uint8_t(bytes[index]));
  case GgufValueType::Int8:
    return makeSigned(int8_t(bytes[index]));
  case GgufValueType::UInt16:
    return makeUnsigned(readLittle<uint16_t>(bytes + index * 2));
  case GgufValueType::Int16:
    return makeSigned(readLittle<int16_t>(bytes + index * 2));
  case GgufValueType::UInt32:
    return makeUnsigned(readLittle<uint32_t>(bytes + index * 4));
  case GgufValueType::Int32:
    return makeSigned(readLittle<int32_t>(bytes + index * 4));
  case GgufValueType::Float32:
    return makeFloating(readFloat(bytes + index * 4));
  case GgufValueType::UInt64:
    return makeUnsigned(readLittle<uint64_t>(bytes + index * 8));
  case GgufValueType::Int64:
    return makeSigned(readLittle<int64_t>(bytes + index * 8));
  case GgufValueType::Float64:
    return makeFloating(readDouble(bytes + index * 8));
  case GgufValueType::String:
  case GgufValueType::Array:
    break;
  }
  return {Number::None};
}

/// The value where it is an integer of that range.
static std::optional<int64_t> toInteger(const Number &number, int64_t min, int64_t max) {
  int64_t value = number.asSigned;
  if (number.kind == Number::Unsigned) {
    if (number.asUnsigned > uint64_t(INT64_MAX))
      return std::nullopt;
    value = int64_t(number.asUnsigned);
  } else if (number.kind != Number::Signed) {
    return std::nullopt;
  }
  return value >= min && value <= max ? std::optional(value) : std::nullopt;
}

const GgufMetadata::Value *GgufMetadata::find(StringRef key) const {
  auto place = values.find(key);
  return place == values.end() ? nullptr : &place->second;
}

void GgufMetadata::fail(StringRef key, const Twine &text, Problems &problems) const {
  problems.add(file + ": " + printable(key) + ": " + text);
}

static StringRef nameType(GgufValueType type) {
  static constexpr StringLiteral names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                            "bool", "string", "array", "u64", "i64", "f64"};
  return names[uint32_t(type)];
}

/// The next string of an array's bytes.
static StringRef takeString(StringRef &bytes) {
  uint64_t length = readLittle<uint64_t>(bytes.data());
  StringRef text = bytes.substr(8, length);
  bytes = bytes.drop_front(8 + length);
  return text;
}

std::string GgufMetadata::print(const Value &value) const {
  std::string text;
  raw_string_ostream stream(text);
  if (value.isArray) {
    stream << "an array of " << value.count << " of " << nameType(value.type);
    return text;
  }
  if (value.type == GgufValueType::String) {
    StringRef bytes = value.bytes;
    return "\"" + printable(takeString(bytes)) + "\"";
  }
  Number number = readNumber(value.type, value.bytes, 0);
  if (value.type == GgufValueType::Bool)
    stream << (number.asUnsigned ? "true" : "false");
  else if (number.kind == Number::Unsigned)
    stream << number.asUnsigned;
  else if (number.kind == Number::Signed)
    stream << number.asSigned;
  else
    stream << number.asDouble;
  return text;
}

std::string GgufMetadata::print(StringRef key) const {
  const Value *value = find(key);
  return value ? print(*value) : "nothing";
}

bool GgufMetadata::isArray(StringRef key) const {
  const Value *value = find(key);
  return value && value->isArray;
}

std::optional<StringRef> GgufMetadata::getString(StringRef key, Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->isArray || value->type != GgufValueType::String) {
    fail(key, "expected a string, found " + print(*value), problems);
    return std::nullopt;
  }
  StringRef bytes = value->bytes;
  return takeString(bytes);
}

std::optional<int64_t> GgufMetadata::getInteger(StringRef key, int64_t min, int64_t max,
                                                Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type != GgufValueType::Bool)
    if (std::optional<int64_t> integer =
            toInteger(readNumber(value->type, value->bytes, 0), min, max))
      return integer;
  fail(key,
       "expected an integer from " + Twine(min) + " to " + Twine(max) + ", found " + print(*value),
       problems);
  return std::nullopt;
}

std::optional<uint64_t> GgufMetadata::getUnsigned(StringRef key, Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type != GgufValueType::Bool) {
    Number number = readNumber(value->type, value->bytes, 0);
    if (number.kind == Number::Unsigned)
      return number.asUnsigned;
    if (std::optional<int64_t> integer = toInteger(number, 0, INT64_MAX))
      return uint64_t(*integer);
  }
  fail(key, "expected an integer from 0, found " + print(*value), problems);
  return std::nullopt;
}

std::optional<double> GgufMetadata::getNumber(StringRef key, Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type != GgufValueType::Bool) {
    Number number = readNumber(value->type, value->bytes, 0);
    if (number.kind != Number::None)
      return number.asDouble;
  }
  fail(key, "expected a number, found " + print(*value), problems);
  return std::nullopt;
}

std::optional<bool> GgufMetadata::getBool(StringRef key, Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type == GgufValueType::Bool)
    return value->bytes[0] != 0;
  fail(key, "expected true or false, found " + print(*value), problems);
  return std::nullopt;
}

std::optional<std::vector<StringRef>> GgufMetadata::getStrings(StringRef key,
                                                               Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray || value->type != GgufValueType::String) {
    fail(key, "expected an array of strings, found " + print(*value), problems);
    return std::nullopt;
  }
  std::vector<StringRef> strings;
  strings.reserve(value->count);
  for (StringRef bytes = value->bytes; !bytes.empty();)
    strings.push_back(takeString(bytes));
  return strings;
}

std::optional<std::vector<int32_t>> GgufMetadata::getIntegers(StringRef key,
                                                              Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  bool sound = value->isArray && value->type != GgufValueType::Array;
  std::vector<int32_t> integers;
  for (uint64_t i = 0; sound && i < value->count; ++i) {
    std::optional<int64_t> integer =
        toInteger(readNumber(value->type, value->bytes, i), INT32_MIN, INT32_MAX);
    sound = integer.has_value();
    if (sound)
      integers.push_back(int32_t(*integer));
  }
  if (sound)
    return integers;
  fail(key, "expected an array of integers of 32 bits, found " + print(*value), problems);
  return std::nullopt;
}

std::optional<std::vector<float>> GgufMetadata::getNumbers(StringRef key,
                                                           Problems &problems) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray ||
      (value->type != GgufValueType::Float32 && value->type != GgufValueType::Float64)) {
    fail(key, "expected an array of f32, found " + print(*value), problems);
    return std::nullopt;
  }
  std::vector<float> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i)
    numbers.push_back(float(readNumber(value->type, value->bytes, i).asDouble));
  return numbers;
}
