// Calls a function of an artifact with arrays: which function, what the dims are, memory of the
// sizes that the runtime names, shapes of the results.
#include "compiler/tools/kiln/FunctionCall.h"
#include "compiler/tools/kiln/EvaluateExpr.h"
#include "kiln/artifact.h"
#include <cstring>

using namespace kiln;

static const schema::Program *programOf(const kiln_model_t *model) {
  const void *data = nullptr;
  size_t size = 0;
  kiln_status_t status = kiln_model_section(model, KILN_SECTION_PROGRAM, &data, &size);
  return status == KILN_OK ? schema::GetProgram(data) : nullptr;
}

bool kiln::hasTextModel(const kiln_model_t *model) {
  const schema::Program *program = programOf(model);
  return program && (program->language_model() || program->encoder());
}

bool kiln::findOutWhetherArrays(const std::string &path, bool &arrays, std::string &problem) {
  kiln_model_t *model = nullptr;
  kiln_error error{};
  kiln_status_t status = kiln_model_open_path(path.c_str(), &model, &error);
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  ModelHandle owned(model);
  arrays = !hasTextModel(model);
  return true;
}

OnnxType kiln::typeOf(kiln_dtype_t dtype) {
  switch (dtype) {
  case KILN_F32:
    return OnnxType::Float;
  case KILN_F16:
    return OnnxType::Float16;
  case KILN_BF16:
    return OnnxType::BFloat16;
  case KILN_I32:
    return OnnxType::Int32;
  case KILN_I64:
    return OnnxType::Int64;
  case KILN_U8:
    return OnnxType::UInt8;
  case KILN_I8:
    return OnnxType::Int8;
  case KILN_U16:
    return OnnxType::UInt16;
  case KILN_U32:
    return OnnxType::UInt32;
  case KILN_U64:
    return OnnxType::UInt64;
  case KILN_I16:
    return OnnxType::Int16;
  case KILN_F64:
    return OnnxType::Double;
  case KILN_BOOL:
    return OnnxType::Bool;
  case KILN_F8E4M3FN:
    return OnnxType::Float8E4M3FN;
  case KILN_F8E4M3FNUZ:
    return OnnxType::Float8E4M3FNUZ;
  case KILN_F8E5M2:
    return OnnxType::Float8E5M2;
  case KILN_F8E5M2FNUZ:
    return OnnxType::Float8E5M2FNUZ;
  case KILN_I4:
    return OnnxType::Int4;
  case KILN_U4:
    return OnnxType::UInt4;
  case KILN_I2:
    return OnnxType::Int2;
  case KILN_U2:
    return OnnxType::UInt2;
  case KILN_F4E2M1:
    return OnnxType::Float4E2M1;
  case KILN_F8E8M0:
    return OnnxType::Float8E8M0;
  }
  return OnnxType::Undefined;
}

// ---- The model ----------------------------------------------------------------------------------

bool FunctionModel::open(const std::string &path, uint32_t threads, const std::string &name,
                         std::string &problem) {
  kiln_error error{};
  kiln_model_t *opened = nullptr;
  kiln_status_t status = kiln_model_open_path(path.c_str(), &opened, &error);
  model.reset(opened);
  kiln_pool_t *workers = nullptr;
  if (status == KILN_OK)
    status = kiln_pool_create(threads, &workers, &error);
  pool.reset(workers);
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  size_t count = kiln_model_function_count(opened);
  function = kiln_model_function(opened, name.empty() ? "main" : name.c_str());
  if (!function && name.empty() && count == 1)
    function = kiln_model_function_at(opened, 0);
  if (!function) {
    std::string names;
    for (size_t i = 0; i < count; ++i)
      names += (i ? ", " : "") + std::string(kiln_function_name(kiln_model_function_at(opened, i)));
    problem = path + ": " + (name.empty() ? "name a function" : "no function " + name) +
              "; it has " + (names.empty() ? "none" : names);
    return false;
  }
  freeDims = kiln_function_dim_count(function);
  dims.resize(kiln_function_all_dim_count(function));
  inputs.resize(kiln_function_input_count(function));
  outputs.resize(kiln_function_output_count(function));
  for (size_t i = 0; i < dims.size(); ++i)
    kiln_function_dim(function, i, &dims[i]);
  for (size_t i = 0; i < inputs.size(); ++i)
    kiln_function_input(function, i, &inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i)
    kiln_function_output(function, i, &outputs[i]);
  return true;
}

std::string FunctionModel::describeType(const kiln_value_info &info) const {
  std::string text = nameOf(typeOf(info.dtype)).str() + " [";
  for (uint32_t i = 0; i < info.rank; ++i)
    text += (i ? ", " : "") + (info.dim[i] >= 0 ? std::string(dims[size_t(info.dim[i])].name)
                                                : std::to_string(info.extent[i]));
  return text + "]";
}

std::optional<int64_t> FunctionModel::indexLimit(size_t input,
                                                 const std::vector<int64_t> &allDims) const {
  std::string name = kiln_function_name(function);
  if (const schema::Program *program = programOf(model.get()))
    for (const schema::Function *known : *program->functions())
      if (known->name()->str() == name)
        if (const schema::Expr *limit =
                known->inputs()->Get(flatbuffers::uoffset_t(input))->index_limit())
          return evaluateExpr(*limit, allDims);
  return std::nullopt;
}

// ---- Inputs and dims ----------------------------------------------------------------------------

void FunctionCall::Memory::resize(uint64_t wanted) {
  size = wanted;
  bytes.assign(wanted + 63, 0);
}

uint8_t *FunctionCall::Memory::data() {
  auto at = reinterpret_cast<uintptr_t>(bytes.data());
  return bytes.data() + ((64 - at % 64) % 64);
}

static std::string printDims(const std::vector<int64_t> &dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

bool FunctionCall::setInput(size_t input, Value value, std::string &problem) {
  const kiln_value_info &info = model.inputs[input];
  OnnxType wanted = typeOf(info.dtype);
  std::string what = "input " + std::string(info.name) + ": ";
  bool isSigned = wanted == OnnxType::Int4 || wanted == OnnxType::Int2;
  bool isSmall = isSigned || wanted == OnnxType::UInt4 || wanted == OnnxType::UInt2;
  bool isByte = value.type == (isSigned ? OnnxType::Int8 : OnnxType::UInt8);
  bool isNameless =
      value.type == OnnxType::Undefined && value.elementBytes == bytesInMemory(wanted);
  if (value.type != wanted && !isNameless && !(isSmall && isByte)) {
    problem = what + "expected " + model.describeType(info) + ", found " +
              (value.type == OnnxType::Undefined
                   ? "elements of " + std::to_string(value.elementBytes) + " bytes"
                   : nameOf(value.type).str()) +
              " " + printDims(value.dims);
    return false;
  }
  value.type = wanted;
  int count = 1 << bitsOf(wanted), least = isSigned ? -count / 2 : 0, most = least + count - 1;
  for (int64_t i = 0; isSmall && i < value.count(); ++i)
    if (double number = numberAt(value, i); number < least || number > most) {
      problem = what + "expected elements from " + std::to_string(least) + " to " +
                std::to_string(most) + ", found " + std::to_string(int(number));
      return false;
    }
  bool fits = value.dims.size() == info.rank;
  for (uint32_t i = 0; fits && i < info.rank; ++i)
    fits = info.dim[i] >= 0 || info.extent[i] == value.dims[i];
  if (!fits) {
    problem = what + "expected " + model.describeType(info) + ", found " + printDims(value.dims);
    return false;
  }
  given[input] = std::move(value);
  return true;
}

bool FunctionCall::solveDims(const std::map<std::string, int64_t> &wanted, std::string &problem) {
  std::vector<std::optional<int64_t>> known(model.freeDims);
  std::vector<std::string> from(model.freeDims);
  auto learn = [&](size_t dim, int64_t value, const std::string &source) {
    if (known[dim] && *known[dim] != value) {
      problem = "dim " + std::string(model.dims[dim].name) + ": is " + std::to_string(*known[dim]) +
                " by " + from[dim] + " and " + std::to_string(value) + " by " + source;
      return false;
    }
    known[dim] = value;
    from[dim] = source;
    return true;
  };
  for (const auto &[name, value] : wanted) {
    size_t dim = 0;
    while (dim < model.freeDims && name != model.dims[dim].name)
      ++dim;
    if (dim == model.freeDims) {
      problem = "--dim " + name + ": expected one of the dims that a caller gives:";
      for (size_t i = 0; i < model.freeDims; ++i)
        problem += std::string(i ? ", " : " ") + model.dims[i].name;
      if (!model.freeDims)
        problem += " there is none";
      return false;
    }
    if (!learn(dim, value, "--dim"))
      return false;
  }
  for (size_t i = 0; i < given.size(); ++i)
    for (uint32_t axis = 0; given[i] && axis < model.inputs[i].rank; ++axis) {
      int32_t dim = model.inputs[i].dim[axis];
      if (dim >= 0 && size_t(dim) < model.freeDims &&
          !learn(size_t(dim), given[i]->dims[axis], "input " + std::string(model.inputs[i].name)))
        return false;
    }
  std::vector<int64_t> free;
  for (size_t i = 0; i < model.freeDims; ++i) {
    const kiln_dim_info &info = model.dims[i];
    if (!known[i] && info.min == info.max)
      known[i] = info.min;
    if (!known[i]) {
      problem = "dim " + std::string(info.name) + ": give --dim " + info.name + "=VALUE, from " +
                std::to_string(info.min) + " to " + std::to_string(info.max);
      return false;
    }
    free.push_back(*known[i]);
  }
  kiln_error error{};
  dims.assign(model.dims.size(), 0);
  kiln_status_t status = kiln_function_all_dims(model.function, free.data(), dims.data(), &error);
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  dimsAfter = dims;
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i] && given[i]->dims != shapeOf(model.inputs[i])) {
      problem = "input " + std::string(model.inputs[i].name) + ": expected " +
                model.describeType(model.inputs[i]) + ", here " +
                printDims(shapeOf(model.inputs[i])) + ", found " + printDims(given[i]->dims);
      return false;
    }
  return true;
}

std::vector<int64_t> FunctionCall::shapeOf(const kiln_value_info &info) const {
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < info.rank; ++i)
    shape.push_back(info.dim[i] >= 0 ? dimsAfter[size_t(info.dim[i])] : info.extent[i]);
  return shape;
}

/// Bytes of a value; nothing beyond what can be addressed.
static std::optional<uint64_t> bytesOf(const std::vector<int64_t> &shape, OnnxType type) {
  uint64_t bytes = bytesInMemory(type);
  for (int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, uint64_t(extent), &bytes) || bytes > uint64_t(INT64_MAX))
      return std::nullopt;
  return bytes;
}

bool FunctionCall::fillInputs(uint64_t seed, std::string &problem) {
  uint64_t state = seed;
  auto next = [&] { // SplitMix64
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  };
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i])
      continue;
    const kiln_value_info &info = model.inputs[i];
    Value value;
    value.type = typeOf(info.dtype);
    value.elementBytes = bytesInMemory(value.type);
    value.dims = shapeOf(info);
    std::optional<uint64_t> bytes = bytesOf(value.dims, value.type);
    if (!bytes) {
      problem = "input " + std::string(info.name) + ": " + printDims(value.dims) + " is too large";
      return false;
    }
    value.bytes.resize(*bytes);
    std::optional<int64_t> limit = model.indexLimit(i, dims);
    bool isFloat = nameOf(value.type).contains("float");
    for (int64_t at = 0; at < value.count(); ++at) {
      uint64_t random = next() >> 11;
      double number = isFloat ? double(random) * 0x1p-52 - 1
                      : limit ? double(random % uint64_t(std::max<int64_t>(*limit, 1)))
                              : double(random & 1);
      storeNumber(value, at, number);
    }
    given[i] = std::move(value);
  }
  return true;
}

// ---- Calls --------------------------------------------------------------------------------------

bool FunctionCall::prepare(std::string &problem) {
  for (size_t i = 0; i < given.size(); ++i)
    if (!given[i]) {
      problem = "input " + std::string(model.inputs[i].name) + ": expected a value, " +
                model.describeType(model.inputs[i]) + ": give --input " + model.inputs[i].name +
                "=@FILE, or --random-inputs";
      return false;
    }
  kiln_error error{};
  kiln_status_t status = kiln_function_memory(
      model.function, dims.data(), kiln_pool_workers(model.pool.get()), &memoryNeeds, &error);
  states.resize(kiln_function_state_count(model.function));
  for (size_t i = 0; i < states.size() && status == KILN_OK; ++i) {
    uint64_t bytes = 0;
    status = kiln_function_state_bytes(model.function, i, dims.data(), &bytes, &error);
    states[i].resize(bytes);
  }
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  inputs.resize(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    inputs[i].resize(given[i]->bytes.size());
    if (!given[i]->bytes.empty())
      std::memcpy(inputs[i].data(), given[i]->bytes.data(), given[i]->bytes.size());
  }
  outputs.resize(model.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::optional<uint64_t> bytes =
        bytesOf(shapeOf(model.outputs[i]), typeOf(model.outputs[i].dtype));
    if (!bytes) {
      problem = "output " + std::string(model.outputs[i].name) + " is too large";
      return false;
    }
    outputs[i].resize(*bytes);
  }
  workspace.resize(memoryNeeds.workspace_bytes);
  return true;
}

bool FunctionCall::run(std::string &problem, kiln_profile *profile) {
  auto buffers = [](std::vector<Memory> &memory) {
    std::vector<kiln_buffer> list;
    for (Memory &one : memory)
      list.push_back({one.data(), one.size});
    return list;
  };
  std::vector<kiln_buffer> in = buffers(inputs), out = buffers(outputs), state = buffers(states);
  kiln_call_t call{};
  call.dims = dims.data();
  call.inputs = in.data();
  call.outputs = out.data();
  call.states = state.data();
  call.workspace = {workspace.data(), workspace.size};
  call.profile = profile;
  call.dims_after = dimsAfter.data();
  kiln_error error{};
  kiln_status_t status = kiln_call(model.pool.get(), model.function, &call, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

Value FunctionCall::output(size_t output) const {
  Value value;
  value.type = typeOf(model.outputs[output].dtype);
  value.elementBytes = bytesInMemory(value.type);
  value.dims = shapeOf(model.outputs[output]);
  uint64_t bytes = bytesOf(value.dims, value.type).value_or(0);
  const uint8_t *data = outputs[output].data();
  value.bytes.assign(data, data + std::min(bytes, outputs[output].size));
  return value;
}
