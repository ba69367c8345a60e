// Codes of an ArrayBuilder: what arrays of f32 were dequantized from, and which follow from
// products of codes, is noted while the model is imported, so that whoever reads or rounds them
// works on the integers. Notes change nothing: the f32 are in the graph too, and vanish where
// nobody reads them.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "ir/PanelLayout.h"

using namespace mlir;
using namespace kiln;

/// What a note is kept by: values, and the tensors of constants that are no values yet.
static const void *keyOf(const Array &array) {
  return array.value ? array.value.getAsOpaquePointer()
                     : static_cast<const void *>(array.constant.get());
}

const Codes *ArrayBuilder::codesOf(const Array &array) const {
  auto found = keyOf(array) ? codes.find(keyOf(array)) : codes.end();
  return found == codes.end() ? nullptr : &found->second;
}

void ArrayBuilder::noteCodes(const Array &array, Codes made) {
  if (keyOf(array))
    codes[keyOf(array)] = std::move(made);
}

const ScaledSum *ArrayBuilder::scaledSumOf(const Array &array) const {
  auto found = array.value ? scaledSums.find(array.value) : scaledSums.end();
  return found == scaledSums.end() ? nullptr : &found->second;
}

void ArrayBuilder::noteScaledSum(const Array &array, ScaledSum made) {
  if (array.value)
    scaledSums[array.value] = std::move(made);
}

Array ArrayBuilder::quantized(const Array &x, const Array &factor, Type element, int64_t zero,
                              int64_t low, int64_t high) {
  return map("quantize", {x, factor}, element,
             params({{"zero", attr(zero)}, {"low", attr(low)}, {"high", attr(high)}}));
}

Array ArrayBuilder::dequantized(const Array &from, double scale, int64_t zero) {
  if (!from.element)
    return {};
  Array result = map("dequantize", from, b.getF32Type(),
                     params({{"scale", attr(scale)}, {"zero", attr(zero)}}));
  noteCodes(result, {from, {scale}, {zero}});
  return result;
}

void ArrayBuilder::carryScaledSum(StringRef kind, ArrayRef<Array> operands, const Array &result) {
  const ScaledSum *known = scaledSumOf(operands[0]);
  if (!known || result.shape != operands[0].shape || result.element != operands[0].element)
    return;
  ScaledSum sum = *known;
  double bound = 0;
  if (kind == "max" || kind == "min") {
    auto values = valuesOf(operands[1]);
    if (!values || values->size() != 1 || std::isnan(values->front()))
      return;
    bound = values->front();
  } else if (kind != "relu") {
    return;
  }
  auto hold = [&](double value) {
    return kind == "min" ? std::min(value, bound) : std::max(value, bound);
  };
  sum.low = hold(sum.low);
  sum.high = hold(sum.high);
  noteScaledSum(result, std::move(sum));
}

Value ArrayBuilder::codeWeight(std::vector<uint8_t> bytes, int64_t rows, int64_t columns,
                               StringRef name) {
  auto tensor = std::make_shared<OnnxTensor>();
  tensor->name = name.str();
  tensor->type = OnnxType::Int8;
  tensor->dims = {rows, columns};
  tensor->elements = rows * columns;
  tensor->sizeBytes = bytes.size();
  tensor->bytes = std::move(bytes);
  kept.push_back(tensor);
  return useWeight(*tensor, RankedTensorType::get({rows, columns}, b.getI8Type()), false,
                   findFormat("s8") ? StringRef("s8") : StringRef(kRawFormatName));
}
