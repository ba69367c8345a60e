// Elements of arrays as numbers, of every type; tensors of ONNX files as arrays. LLVM's APFloat
// knows all the small floats.
#include "compiler/values/Value.h"
#include "compiler/import/Problems.h"
#include "compiler/values/FloatBits.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>
#include <cstring>
#include <limits>

using namespace llvm;
using namespace kiln;

/// The format of a float below 32 bits; null for other types.
static const fltSemantics *smallFloat(OnnxType type) {
  switch (type) {
  case OnnxType::Float16:
    return &APFloat::IEEEhalf();
  case OnnxType::BFloat16:
    return &APFloat::BFloat();
  case OnnxType::Float8E4M3FN:
    return &APFloat::Float8E4M3FN();
  case OnnxType::Float8E4M3FNUZ:
    return &APFloat::Float8E4M3FNUZ();
  case OnnxType::Float8E5M2:
    return &APFloat::Float8E5M2();
  case OnnxType::Float8E5M2FNUZ:
    return &APFloat::Float8E5M2FNUZ();
  case OnnxType::Float8E8M0:
    return &APFloat::Float8E8M0FNU();
  case OnnxType::Float4E2M1:
    return &APFloat::Float4E2M1FN();
  default:
    return nullptr;
  }
}

unsigned kiln::bytesInMemory(OnnxType type) {
  unsigned bits = bitsOf(type);
  return (bits + 7) / 8;
}

template <typename T> static T load(const uint8_t *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

double kiln::numberAt(const Value &value, int64_t i) {
  const uint8_t *at = value.bytes.data() + size_t(i) * value.elementBytes;
  if (const fltSemantics *semantics = smallFloat(value.type)) {
    uint64_t bits = value.elementBytes == 2 ? load<uint16_t>(at) : *at;
    return fromFloatBits(bits, *semantics);
  }
  switch (value.type) {
  case OnnxType::Float:
  case OnnxType::Complex64:
    return double(load<float>(at));
  case OnnxType::Double:
  case OnnxType::Complex128:
    return load<double>(at);
  case OnnxType::Int8:
  case OnnxType::Int4:
  case OnnxType::Int2:
    return load<int8_t>(at);
  case OnnxType::Int16:
    return load<int16_t>(at);
  case OnnxType::Int32:
    return load<int32_t>(at);
  case OnnxType::Int64:
    return double(load<int64_t>(at));
  case OnnxType::UInt16:
    return load<uint16_t>(at);
  case OnnxType::UInt32:
    return load<uint32_t>(at);
  case OnnxType::UInt64:
    return double(load<uint64_t>(at));
  default: // bool, uint8, and what is unknown, as its first byte
    return value.elementBytes ? *at : 0;
  }
}

/// The nearest integer that T holds in `bits` bits.
template <typename T> static void storeInteger(uint8_t *at, double number, unsigned bits) {
  constexpr bool isSigned = std::is_signed<T>::value;
  double most = std::ldexp(1.0, int(bits) - (isSigned ? 1 : 0)), least = isSigned ? -most : 0;
  number = std::isnan(number) ? 0 : std::nearbyint(number);
  T stored;
  if (number < most)
    stored = T(std::max(number, least));
  else if (bits == 8 * sizeof(T))
    stored = std::numeric_limits<T>::max();
  else
    stored = T(most - 1);
  std::memcpy(at, &stored, sizeof stored);
}

bool kiln::storeNumber(Value &value, int64_t i, double number) {
  uint8_t *at = value.bytes.data() + size_t(i) * value.elementBytes;
  if (const fltSemantics *semantics = smallFloat(value.type)) {
    uint64_t bits = toFloatBits(number, *semantics);
    std::memcpy(at, &bits, value.elementBytes);
    return true;
  }
  unsigned bits = bitsOf(value.type);
  switch (value.type) {
  case OnnxType::Float: {
    auto narrow = float(number);
    std::memcpy(at, &narrow, sizeof narrow);
    return true;
  }
  case OnnxType::Double:
    std::memcpy(at, &number, sizeof number);
    return true;
  case OnnxType::Bool:
    *at = number != 0;
    return true;
  case OnnxType::Int8:
  case OnnxType::Int4:
  case OnnxType::Int2:
    storeInteger<int8_t>(at, number, bits);
    return true;
  case OnnxType::UInt8:
  case OnnxType::UInt4:
  case OnnxType::UInt2:
    storeInteger<uint8_t>(at, number, bits);
    return true;
  case OnnxType::Int16:
    storeInteger<int16_t>(at, number, bits);
    return true;
  case OnnxType::UInt16:
    storeInteger<uint16_t>(at, number, bits);
    return true;
  case OnnxType::Int32:
    storeInteger<int32_t>(at, number, bits);
    return true;
  case OnnxType::UInt32:
    storeInteger<uint32_t>(at, number, bits);
    return true;
  case OnnxType::Int64:
    storeInteger<int64_t>(at, number, bits);
    return true;
  case OnnxType::UInt64:
    storeInteger<uint64_t>(at, number, bits);
    return true;
  default:
    return false;
  }
}

Expected<Value> kiln::makeValue(const OnnxTensor &tensor, const OnnxModel *model) {
  Expected<std::vector<uint8_t>> bytes = readBytes(tensor, model);
  if (!bytes)
    return bytes.takeError();
  Value value;
  value.type = tensor.type;
  value.elementBytes = bytesInMemory(tensor.type);
  value.dims = tensor.dims;
  unsigned bits = bitsOf(tensor.type);
  if (bits >= 8) {
    value.bytes = std::move(*bytes);
    return value;
  }
  bool isSigned = tensor.type == OnnxType::Int4 || tensor.type == OnnxType::Int2;
  value.bytes.reserve(size_t(tensor.elements));
  for (int64_t i = 0; i < tensor.elements; ++i) {
    unsigned shift = unsigned(uint64_t(i) * bits % 8);
    unsigned element = ((*bytes)[size_t(uint64_t(i) * bits / 8)] >> shift) & ((1u << bits) - 1);
    if (isSigned && element >> (bits - 1))
      element |= ~0u << bits;
    value.bytes.push_back(uint8_t(element));
  }
  return value;
}
