#include "tests/onnx/OnnxCase.h"
#include "compiler/Pipeline.h"
#include "kiln/kiln.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace kiln;
using namespace kiln::onnxtest;

/// As ONNX's own runner compares.
static constexpr double kRelative = 1e-3, kAbsolute = 1e-7;
/// What a case may take: more than any needs.
static constexpr uint64_t kMostBytes = uint64_t(4) << 30;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

static bool isNumeric(OnnxType type) {
  return type != OnnxType::String && type != OnnxType::Complex64 && type != OnnxType::Complex128 &&
         type != OnnxType::Undefined;
}

bool onnxtest::hasTensorTypes(const OnnxModel &model) {
  for (const auto *values : {&model.graph.inputs, &model.graph.outputs})
    for (const OnnxValue &value : *values)
      if (value.kind == OnnxValue::Other || !isNumeric(value.type))
        return false;
  return true;
}

// ---- Reading ----------------------------------------------------------------------------------

/// Of each value its tensors: one, or those of a sequence or optional.
using Values = std::vector<std::vector<OnnxTensor>>;

static llvm::Expected<Values> readValues(llvm::StringRef folder, llvm::StringRef role,
                                         const std::vector<OnnxValue> &declared) {
  Values values;
  for (auto [i, value] : llvm::enumerate(declared)) {
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, role + "_" + std::to_string(i) + ".pb");
    auto file = llvm::MemoryBuffer::getFile(path, false, false);
    if (!file)
      return fail("{0}: {1}", path, file.getError().message());
    llvm::StringRef text = (*file)->getBuffer();
    auto tensors =
        readOnnxTensors(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(text.data()), text.size()),
                        value.kind, path);
    if (!tensors)
      return tensors.takeError();
    values.push_back(std::move(*tensors));
  }
  return values;
}

/// Says how many tensors a sequence or optional has, and what the model leaves open: their rank and
/// the extents that all share.
static void declareItems(OnnxCase &test, OnnxValue &value, const std::vector<OnnxTensor> &items) {
  auto count = int64_t(items.size());
  test.bounds.push_back({value.name + ".length", count, count});
  if (value.hasShape || items.empty())
    return;
  value.hasShape = true;
  value.shape.assign(items[0].dims.size(), {});
  for (auto [dim, size] : llvm::enumerate(value.shape)) {
    bool same = llvm::all_of(items, [&, dim = dim](const OnnxTensor &item) {
      return dim < item.dims.size() && item.dims[dim] == items[0].dims[dim];
    });
    if (same)
      size.extent = items[0].dims[dim];
  }
}

/// A dim that was `extent` may be anything around it.
static DimBounds boundsAround(llvm::StringRef value, size_t dim, int64_t extent) {
  return {(value + "_" + llvm::Twine(dim)).str(), std::min<int64_t>(extent, 1), 2 * extent + 1};
}

static void makeDynamic(OnnxCase &test, const Values &inputs, const Values &outputs) {
  OnnxGraph &graph = test.model->graph;
  auto loosen = [&](std::vector<OnnxValue> &values, const Values &all, bool areInputs) {
    for (auto [value, tensors] : llvm::zip(values, all))
      for (auto [i, tensor] : llvm::enumerate(tensors)) {
        bool isItem = value.kind != OnnxValue::Tensor;
        if (isItem && !areInputs)
          continue; // what a list is made of follows from the inputs
        value.hasShape = true;
        value.shape.assign(tensor.dims.size(), {});
        for (auto [dim, extent] : llvm::enumerate(tensor.dims))
          test.bounds.push_back(boundsAround(
              isItem ? value.name + "." + std::to_string(i) : value.name, dim, extent));
      }
  };
  loosen(graph.inputs, inputs, true);
  loosen(graph.outputs, outputs, false);
  graph.values.clear();
}

/// Dims have one element at least, if nobody says otherwise; some tests have none.
static void allowEmptyDims(OnnxCase &test, const Values &inputs) {
  for (auto [value, tensors] : llvm::zip(test.model->graph.inputs, inputs))
    for (const OnnxTensor &tensor : tensors)
      for (auto [dim, extent] : llvm::zip(value.shape, tensor.dims))
        if (extent == 0 && !dim.param.empty())
          test.bounds.push_back({dim.param, 0, 4096});
}

/// A constant is a tensor: sequences and optionals stay inputs.
static void makeConstant(OnnxCase &test, Values &inputs) {
  OnnxGraph &graph = test.model->graph;
  std::vector<OnnxValue> rest;
  Values restInputs;
  for (auto [value, tensors] : llvm::zip(graph.inputs, inputs)) {
    if (value.kind != OnnxValue::Tensor) {
      rest.push_back(value);
      restInputs.push_back(std::move(tensors));
      continue;
    }
    const OnnxTensor &tensor = tensors.front();
    auto constant = std::make_shared<OnnxTensor>(tensor);
    constant->name = value.name;
    constant->type = value.type; // the data of bfloat16 tests is said to be of uint16
    graph.initializers[value.name] = constant;
    graph.initializerOrder.push_back(constant);
  }
  graph.inputs = std::move(rest);
  inputs = std::move(restInputs);
}

llvm::Expected<OnnxCase> onnxtest::readCase(llvm::StringRef folder, unsigned set, Mode mode) {
  OnnxCase test;
  llvm::SmallString<256> path(folder), data(folder);
  llvm::sys::path::append(path, "model.onnx");
  llvm::sys::path::append(data, "test_data_set_" + std::to_string(set));
  auto model = readOnnxModel(path);
  if (!model)
    return model.takeError();
  test.model = std::move(*model);
  auto inputs = readValues(data, "input", test.model->graph.inputs);
  if (!inputs)
    return inputs.takeError();
  auto outputs = readValues(data, "output", test.model->graph.outputs);
  if (!outputs)
    return outputs.takeError();
  if (mode == Mode::Given)
    allowEmptyDims(test, *inputs);
  if (mode == Mode::Dynamic)
    makeDynamic(test, *inputs, *outputs);
  if (mode == Mode::Constant)
    makeConstant(test, *inputs);
  for (auto [value, tensors] : llvm::zip(test.model->graph.inputs, *inputs)) {
    if (value.kind != OnnxValue::Tensor)
      declareItems(test, value, tensors);
    for (OnnxTensor &tensor : tensors)
      test.inputs.push_back(std::move(tensor));
  }
  for (std::vector<OnnxTensor> &tensors : *outputs)
    for (OnnxTensor &tensor : tensors)
      test.outputs.push_back(std::move(tensor));
  return test;
}

// ---- Running ----------------------------------------------------------------------------------

/// An element's bytes where it is called; those of fewer than 8 bits take one each.
static size_t callBytes(OnnxType type) { return std::max<size_t>(bitsOf(type) / 8, 1); }

static std::vector<uint8_t> forCall(const OnnxTensor &tensor) {
  unsigned bits = bitsOf(tensor.type);
  if (bits >= 8)
    return tensor.bytes;
  bool isSigned = tensor.type == OnnxType::Int4 || tensor.type == OnnxType::Int2;
  std::vector<uint8_t> bytes(tensor.elements);
  for (int64_t i = 0; i < tensor.elements; ++i) {
    unsigned code = tensor.bytes[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    bytes[i] = uint8_t(isSigned ? llvm::SignExtend64(code, bits) : code);
  }
  return bytes;
}

static double valueOf(OnnxType type, const uint8_t *bytes) {
  auto floating = [&](const llvm::fltSemantics &semantics) {
    uint64_t raw = 0;
    unsigned bits = llvm::APFloat::getSizeInBits(semantics);
    std::memcpy(&raw, bytes, std::max(bits / 8, 1u));
    llvm::APFloat value(semantics, llvm::APInt(bits, raw));
    bool lossy;
    value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
    return value.convertToDouble();
  };
  auto integer = [&](auto zero) {
    std::memcpy(&zero, bytes, sizeof zero);
    return double(zero);
  };
  switch (type) {
  case OnnxType::Float:
    return floating(llvm::APFloat::IEEEsingle());
  case OnnxType::Double:
    return floating(llvm::APFloat::IEEEdouble());
  case OnnxType::Float16:
    return floating(llvm::APFloat::IEEEhalf());
  case OnnxType::BFloat16:
    return floating(llvm::APFloat::BFloat());
  case OnnxType::Float8E4M3FN:
    return floating(llvm::APFloat::Float8E4M3FN());
  case OnnxType::Float8E4M3FNUZ:
    return floating(llvm::APFloat::Float8E4M3FNUZ());
  case OnnxType::Float8E5M2:
    return floating(llvm::APFloat::Float8E5M2());
  case OnnxType::Float8E5M2FNUZ:
    return floating(llvm::APFloat::Float8E5M2FNUZ());
  case OnnxType::Float8E8M0:
    return floating(llvm::APFloat::Float8E8M0FNU());
  case OnnxType::Float4E2M1:
    return floating(llvm::APFloat::Float4E2M1FN());
  case OnnxType::Int64:
    return integer(int64_t());
  case OnnxType::Int32:
    return integer(int32_t());
  case OnnxType::Int16:
    return integer(int16_t());
  case OnnxType::Int8:
  case OnnxType::Int4:
  case OnnxType::Int2:
    return integer(int8_t());
  case OnnxType::UInt64:
    return integer(uint64_t());
  case OnnxType::UInt32:
    return integer(uint32_t());
  case OnnxType::UInt16:
    return integer(uint16_t());
  default:
    return integer(uint8_t());
  }
}

static llvm::Error compare(const OnnxTensor &expected, llvm::ArrayRef<int64_t> shape,
                           const uint8_t *found, llvm::StringRef name) {
  if (shape != llvm::ArrayRef(expected.dims))
    return fail("{0}: expected shape [{1:$[, ]}], found [{2:$[, ]}]", name,
                llvm::make_range(expected.dims.begin(), expected.dims.end()),
                llvm::make_range(shape.begin(), shape.end()));
  std::vector<uint8_t> bytes = forCall(expected);
  size_t size = callBytes(expected.type);
  for (int64_t i = 0; i < expected.elements; ++i) {
    double want = valueOf(expected.type, bytes.data() + i * size);
    double have = valueOf(expected.type, found + i * size);
    bool equal = want == have || (std::isnan(want) && std::isnan(have)) ||
                 std::fabs(want - have) <= kAbsolute + kRelative * std::fabs(want);
    if (!equal)
      return fail("{0}: element {1}: expected {2}, found {3}", name, i, want, have);
  }
  return llvm::Error::success();
}

namespace {

struct Closer {
  void operator()(kiln_model_t *model) const { kiln_model_close(model); }
  void operator()(kiln_pool_t *pool) const { kiln_pool_destroy(pool); }
};

/// Aligned memory of a call.
struct Block {
  std::vector<uint8_t> bytes;
  explicit Block(size_t size) : bytes(size + 64) {}
  kiln_buffer buffer() {
    auto *start = reinterpret_cast<uint8_t *>(llvm::alignTo(uintptr_t(bytes.data()), 64));
    return {start, uint64_t(bytes.size() - 64)};
  }
};

} // namespace

static llvm::Error callMain(kiln_model_t *model, OnnxCase &test) {
  const kiln_function_t *main = kiln_model_function(model, "main");
  if (!main)
    return fail("the artifact has no function 'main'");
  kiln_error error = {};
  auto failed = [&](const char *what) { return fail("{0}: {1}", what, error.text); };
  if (kiln_function_input_count(main) != test.inputs.size() ||
      kiln_function_output_count(main) != test.outputs.size())
    return fail("expected {0} outputs, found {1}", test.outputs.size(),
                kiln_function_output_count(main));
  // Free dims follow from the inputs' shapes.
  std::vector<int64_t> dims(kiln_function_dim_count(main), -1);
  for (size_t i = 0; i < kiln_function_input_count(main); ++i) {
    kiln_value_info info;
    if (kiln_function_input(main, i, &info) || info.rank != test.inputs[i].dims.size())
      return fail("input {0} has another rank than its data", i);
    for (uint32_t d = 0; d < info.rank; ++d)
      if (info.dim[d] >= 0 && size_t(info.dim[d]) < dims.size())
        dims[info.dim[d]] = test.inputs[i].dims[d];
  }
  std::vector<int64_t> all(kiln_function_all_dim_count(main) + 1), after(all);
  if (kiln_function_all_dims(main, dims.data(), all.data(), &error))
    return failed("dims");
  std::vector<Block> blocks;
  std::vector<kiln_buffer> inputs, outputs;
  for (const OnnxTensor &tensor : test.inputs) {
    std::vector<uint8_t> bytes = forCall(tensor);
    blocks.emplace_back(bytes.size());
    std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t *>(blocks.back().buffer().data));
    inputs.push_back(blocks.back().buffer());
  }
  for (size_t i = 0; i < kiln_function_output_count(main); ++i) {
    kiln_value_info info;
    if (kiln_function_output(main, i, &info))
      return fail("output {0}", i);
    uint64_t size = callBytes(test.outputs[i].type);
    for (uint32_t d = 0; d < info.rank; ++d)
      size *= uint64_t(info.dim[d] < 0 ? info.extent[d] : all[info.dim[d]]);
    if (size > kMostBytes)
      return fail("output {0}: {1} bytes are planned, for dims that nothing bounds", info.name,
                  size);
    blocks.emplace_back(size);
    outputs.push_back(blocks.back().buffer());
  }
  kiln_pool_t *rawPool = nullptr;
  if (kiln_pool_create(2, &rawPool, &error))
    return failed("pool");
  std::unique_ptr<kiln_pool_t, Closer> pool(rawPool);
  kiln_memory_needs needs;
  if (kiln_function_memory(main, dims.data(), 2, &needs, &error))
    return failed("memory");
  if (needs.workspace_bytes > kMostBytes)
    return fail("{0} bytes of workspace are planned, for dims that nothing bounds",
                needs.workspace_bytes);
  Block workspace(needs.workspace_bytes);
  kiln_call_t call = {};
  call.dims = dims.data();
  call.dims_after = after.data();
  call.inputs = inputs.data();
  call.outputs = outputs.data();
  call.workspace = workspace.buffer();
  if (kiln_call(pool.get(), main, &call, &error))
    return failed("call");
  for (size_t i = 0; i < outputs.size(); ++i) {
    kiln_value_info info;
    if (kiln_function_output(main, i, &info))
      return fail("output {0}", i);
    std::vector<int64_t> shape;
    for (uint32_t d = 0; d < info.rank; ++d)
      shape.push_back(info.dim[d] < 0 ? info.extent[d] : after[info.dim[d]]);
    if (llvm::Error mismatch = compare(test.outputs[i], shape,
                                       static_cast<const uint8_t *>(outputs[i].data), info.name))
      return mismatch;
  }
  return llvm::Error::success();
}

llvm::Error onnxtest::runCase(OnnxCase &test, llvm::StringRef workFile) {
  CompileOptions options;
  options.model = "model.onnx";
  options.output = workFile.str();
  options.dims = test.bounds;
  options.threads = 1;
  CompileReport report;
  if (llvm::Error error = compileOnnxModel(std::move(test.model), options, report))
    return error;
  kiln_error error = {};
  kiln_model_t *raw = nullptr;
  if (kiln_model_open_path(workFile.str().c_str(), &raw, &error))
    return fail("open: {0}", error.text);
  std::unique_ptr<kiln_model_t, Closer> model(raw);
  return callMain(model.get(), test);
}
