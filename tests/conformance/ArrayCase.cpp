// Cases of array operators as kernels' text, buffers and expected elements.
#include "ArrayCase.h"
#include <cmath>
#include <limits>

using namespace kiln;
using namespace kiln::test;

static std::string elementText(OnnxType type) {
  switch (type) {
  case OnnxType::Float:
    return "f32";
  case OnnxType::Double:
    return "f64";
  case OnnxType::Float16:
    return "f16";
  case OnnxType::BFloat16:
    return "bf16";
  case OnnxType::Float8E4M3FN:
    return "f8E4M3FN";
  case OnnxType::Float8E4M3FNUZ:
    return "f8E4M3FNUZ";
  case OnnxType::Float8E5M2:
    return "f8E5M2";
  case OnnxType::Float8E5M2FNUZ:
    return "f8E5M2FNUZ";
  case OnnxType::Float8E8M0:
    return "f8E8M0FNU";
  case OnnxType::Float4E2M1:
    return "f4E2M1FN";
  case OnnxType::Bool:
    return "i1";
  default: // "int8" or "uint8"
    std::string name = nameOf(type).str();
    return name[0] == 'u' ? "ui" + name.substr(4) : "i" + name.substr(3);
  }
}

static std::string typeText(const ArrayType &type) {
  std::string shape, dims;
  for (int64_t extent : type.shape) {
    shape += extent < 0 ? "?x" : std::to_string(extent) + "x";
    if (extent < 0)
      dims += (dims.empty() ? "@" : ", @") + std::string(extent == kDim ? "n" : "m");
  }
  return "tensor<" + shape + elementText(type.type) +
         (dims.empty() ? ">" : ", #graph.dims<" + dims + ">>");
}

Fill kiln::test::spread(double low, double high) {
  return
      [=](int64_t i) { return low + (high - low) * std::fmod(0.61803398875 * double(i + 1), 1); };
}
Fill kiln::test::integers(int64_t low, int64_t high) {
  return [=](int64_t i) { return double(low + (i * 7919 + 13) % (high - low + 1)); };
}
Fill kiln::test::some(std::vector<double> values) {
  return [=](int64_t i) { return values[size_t(i) % values.size()]; };
}

double kiln::test::roundedTo(OnnxType type, double number) {
  Value value;
  value.type = type;
  value.elementBytes = bytesInMemory(type);
  value.bytes.resize(value.elementBytes);
  storeNumber(value, 0, number);
  return numberAt(value, 0);
}

std::string ArrayCase::declare(const std::string &text, const ArrayType &type) {
  std::string value = "%v" + std::to_string(types.size());
  types[value] = {text, type};
  return value;
}

std::string ArrayCase::input(const ArrayType &type, Fill fill) {
  Input made;
  made.text = typeText(type);
  made.name = declare(made.text, type);
  made.type = type;
  made.fill = std::move(fill);
  inputs.push_back(std::move(made));
  return inputs.back().name;
}

std::string ArrayCase::codes(const ArrayType &type) {
  input(type, nullptr);
  inputs.back().isCodes = true;
  return inputs.back().name;
}

std::string ArrayCase::weight(const PackedMatrix &matrix) {
  Input made;
  made.text = matrix.type();
  made.name = declare(made.text, {});
  Buffer<uint8_t> copy(matrix.bytes);
  made.bytes.assign(copy.data(), copy.data() + copy.size());
  inputs.push_back(std::move(made));
  return inputs.back().name;
}

std::string ArrayCase::vector(int64_t size, Fill fill) {
  Input made;
  made.text = vectorType(size);
  made.type = {OnnxType::Float, {size}};
  made.name = declare(made.text, made.type);
  made.fill = std::move(fill);
  made.isVector = true;
  inputs.push_back(std::move(made));
  return inputs.back().name;
}

std::vector<std::string> ArrayCase::ops(const std::string &kind,
                                        const std::vector<std::string> &operands,
                                        const std::vector<ArrayType> &given,
                                        const std::string &params) {
  std::vector<std::string> made;
  std::string names, from, to, left;
  for (const std::string &operand : operands) {
    names += (names.empty() ? "" : ", ") + operand;
    from += (from.empty() ? "" : ", ") + types.at(operand).first;
  }
  for (const ArrayType &type : given) {
    made.push_back(declare(typeText(type), type));
    left += (left.empty() ? "" : ", ") + made.back();
    to += (to.empty() ? "" : ", ") + typeText(type);
  }
  if (given.size() > 1)
    to = "(" + to + ")";
  body += left + " = graph.compute \"" + kind + "\"(" + names + ") {" + params + "} : (" + from +
          ") -> " + to + "\n";
  return made;
}

std::string ArrayCase::matmul(const std::string &x, const std::string &w, const ArrayType &type) {
  padded = true;
  std::string value = declare(typeText(type), type);
  body += value + " = graph.matmul " + x + ", " + w + " : " + types.at(x).first + ", " +
          types.at(w).first + " -> " + typeText(type) + "\n";
  return value;
}

void ArrayCase::expect(double relativeError, double absoluteError, Meaning what) {
  relative = relativeError, absolute = absoluteError, meaning = std::move(what);
}

int64_t ArrayCase::strideOf(const ArrayType &type) const {
  return padded && type.shape.size() > 1 ? paddedColumns(type.shape.back()) : 0;
}

std::vector<int64_t> ArrayCase::sizesOf(const ArrayType &type, int64_t n) const {
  std::vector<int64_t> sizes(type.shape);
  for (int64_t &extent : sizes)
    extent = extent == kDim ? n : extent == kOtherDim ? otherDim(n) : extent;
  return sizes;
}

Value ArrayCase::valueOf(const Input &input, int64_t n) const {
  Value value;
  value.type = input.type.type;
  value.elementBytes = bytesInMemory(value.type);
  value.dims = sizesOf(input.type, n);
  int64_t count = 1;
  for (int64_t extent : value.dims)
    count *= extent;
  value.bytes.resize(size_t(count) * value.elementBytes);
  for (int64_t i = 0; i < count; ++i)
    if (input.isCodes)
      std::memcpy(&value.bytes[size_t(i) * value.elementBytes], &i, value.elementBytes);
    else
      storeNumber(value, i, input.fill(i));
  return value;
}

/// Padding of rows holds NaN, that of vectors 0.
Buffer<uint8_t> ArrayCase::bufferOf(const Input &input, const Value &value) const {
  int64_t stride = strideOf(input.type);
  int64_t columns = value.dims.empty() ? 1 : value.dims.back(), rows = value.count() / columns;
  if (input.isVector)
    stride = paddedColumns(columns);
  if (!stride)
    stride = columns;
  Buffer<uint8_t> buffer(size_t(rows * stride) * value.elementBytes);
  float nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; stride != columns && !input.isVector && i < rows * stride; ++i)
    std::memcpy(buffer.data() + i * 4, &nan, 4);
  size_t rowBytes = size_t(columns) * value.elementBytes;
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(buffer.data() + size_t(row * stride) * value.elementBytes,
                value.bytes.data() + size_t(row) * rowBytes, rowBytes);
  return buffer;
}

Call ArrayCase::call(int64_t n) const {
  Call call;
  Lists elements;
  for (const Input &input : inputs) {
    elements.emplace_back();
    if (!input.bytes.empty()) {
      call.buffers.emplace_back(input.bytes.size());
      std::memcpy(call.buffers.back().data(), input.bytes.data(), input.bytes.size());
      continue;
    }
    Value value = valueOf(input, n);
    call.buffers.push_back(bufferOf(input, value));
    for (int64_t i = 0; i < value.count(); ++i)
      elements.back().push_back(numberAt(value, i));
  }
  call.dims = {n, otherDim ? otherDim(n) : 0};
  Lists wanted = meaning(n, elements);
  for (size_t i = 0; i < results.size(); ++i) {
    const ArrayType &type = types.at(results[i]).second;
    Call::Expected expected;
    expected.buffer = call.buffers.size();
    expected.type = type.type;
    expected.columns = type.shape.empty() ? 1 : sizesOf(type, n).back();
    expected.stride = strideOf(type) ? strideOf(type) : expected.columns;
    expected.relative = relative, expected.absolute = absolute;
    for (double number : wanted[i])
      expected.values.push_back(roundedTo(type.type, number));
    size_t rows = expected.values.size() / size_t(expected.columns);
    call.buffers.emplace_back(rows * size_t(expected.stride) * bytesInMemory(type.type));
    call.expected.push_back(std::move(expected));
  }
  return call;
}

ConformanceCase ArrayCase::make() const {
  ConformanceCase made;
  made.name = "array: " + name;
  made.body = "^bb0(";
  for (const Input &input : inputs) {
    made.body += (made.body.back() == '(' ? "" : ", ") + input.name + ": " + input.text;
    made.strides.push_back(input.bytes.empty() && !input.isVector ? strideOf(input.type) : 0);
  }
  std::string names, texts;
  for (const std::string &result : results) {
    names += (names.empty() ? "" : ", ") + result;
    texts += (texts.empty() ? "" : ", ") + types.at(result).first;
    made.strides.push_back(strideOf(types.at(result).second));
  }
  made.body += "):\n" + body + "graph.yield " + names + " : " + texts;
  made.dims = {"n", "m"};
  made.call = [copy = *this](int64_t n) { return copy.call(n); };
  made.counts = {1, 6};
  return made;
}
