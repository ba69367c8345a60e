// The element types of ONNX: their names in messages and their sizes in files.
#include "compiler/import/onnx/OnnxModel.h"

using namespace llvm;
using namespace kiln;

namespace {
struct TypeRow {
  StringRef name;
  unsigned bits;
};
} // namespace

/// By number, as TensorProto.DataType counts them.
static constexpr TypeRow rows[] = {
    {"undefined", 0},      {"float32", 32},     {"uint8", 8},          {"int8", 8},
    {"uint16", 16},        {"int16", 16},       {"int32", 32},         {"int64", 64},
    {"string", 0},         {"bool", 8},         {"float16", 16},       {"float64", 64},
    {"uint32", 32},        {"uint64", 64},      {"complex64", 64},     {"complex128", 128},
    {"bfloat16", 16},      {"float8e4m3fn", 8}, {"float8e4m3fnuz", 8}, {"float8e5m2", 8},
    {"float8e5m2fnuz", 8}, {"uint4", 4},        {"int4", 4},           {"float4e2m1", 4},
    {"float8e8m0", 8},     {"uint2", 2},        {"int2", 2},
};

StringRef kiln::nameOf(OnnxType type) {
  auto number = size_t(type);
  return number < std::size(rows) ? rows[number].name : "unknown";
}

unsigned kiln::bitsOf(OnnxType type) {
  auto number = size_t(type);
  return number < std::size(rows) ? rows[number].bits : 0;
}
