// Walks a module after memory planning and describes it for the runtime: exec.func becomes a table
// of dims, values, states and steps; every exec.launch binds buffers as (space, offset, size) with
// expressions of the dims; exec.kernel becomes a name, a list of the ops it fuses and a count of
// multiplications. Codes come later, one image per target (DescribeImage.cpp).
#include "compiler/artifact/DescribeFacts.h"
#include "compiler/artifact/ExprFromAffine.h"
#include "compiler/artifact/WeightPacker.h"
#include "ir/Exec/ExecDialect.h"
#include "kiln/abi.h"
#include "kiln/artifact.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace kiln;
using namespace mlir;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

/// What the model calls an op: the name in its location.
static std::string nameOf(Location location) {
  std::string name;
  location->walk([&](Location part) {
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name;
}

static llvm::Expected<schema::DType> dtypeOf(StringRef name, Type type) {
  if (type.isF32())
    return schema::DType_f32;
  if (type.isF16())
    return schema::DType_f16;
  if (type.isBF16())
    return schema::DType_bf16;
  if (type.isInteger(32))
    return schema::DType_i32;
  if (type.isInteger(64))
    return schema::DType_i64;
  if (type.isInteger(8))
    return type.isUnsignedInteger() ? schema::DType_u8 : schema::DType_i8;
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return fail("{0}: values of type {1} cannot cross the function's boundary", name, text);
}

namespace {

/// Describes one function.
class FunctionDescriber {
public:
  FunctionDescriber(exec::FuncOp func, const llvm::StringMap<unsigned> &kernels,
                    const llvm::StringMap<unsigned> &weights, const schema::ProgramT &program)
      : func(func), kernels(kernels), weights(weights), program(program) {
    for (auto dim : func.getDims().getAsRange<exec::DimBoundsAttr>())
      dimNames.push_back(dim.getName().str());
  }

  llvm::Expected<std::unique_ptr<schema::FunctionT>> describe();

private:
  /// Where a buffer lies, whatever the launch.
  struct Place {
    schema::Space space;
    unsigned index = 0;
    AffineExpr offset; // null: 0 or unused
    AffineExpr sizeBytes;
  };

  llvm::Expected<AffineExpr> dimExpr(FlatSymbolRefAttr symbol) {
    for (auto [i, name] : llvm::enumerate(dimNames))
      if (symbol && name == symbol.getValue())
        return getAffineSymbolExpr(i, func.getContext());
    return fail("{0}: has no dim '{1}'", func.getSymName(),
                symbol ? symbol.getValue() : StringRef("?"));
  }
  AffineExpr constant(int64_t value) { return getAffineConstantExpr(value, func.getContext()); }
  llvm::Expected<std::unique_ptr<schema::ExprT>> expr(AffineExpr value) {
    return exprFromAffine(value, dimNames.size());
  }

  llvm::Expected<std::unique_ptr<schema::ValueT>>
  describeValue(StringRef name, RankedTensorType type, AffineExpr *sizeBytes);
  llvm::Error describeBuffer(Operation &op, schema::FunctionT &function);
  llvm::Expected<AffineExpr> layerBytes(exec::StateOp state);
  llvm::Expected<std::unique_ptr<schema::StepT>> describeLaunch(exec::LaunchOp launch);

  exec::FuncOp func;
  const llvm::StringMap<unsigned> &kernels, &weights;
  const schema::ProgramT &program;
  std::vector<std::string> dimNames;
  DenseMap<Value, Place> places;
};

} // namespace

llvm::Expected<std::unique_ptr<schema::ValueT>>
FunctionDescriber::describeValue(StringRef name, RankedTensorType type, AffineExpr *sizeBytes) {
  auto value = std::make_unique<schema::ValueT>();
  value->name = name.str();
  auto dtype = dtypeOf(name, type.getElementType());
  if (!dtype)
    return dtype.takeError();
  value->dtype = *dtype;
  graph::DimsAttr dims = graph::getDims(type);
  AffineExpr size = constant(llvm::divideCeil(type.getElementTypeBitWidth(), 8));
  unsigned dynamic = 0;
  for (int64_t extent : type.getShape()) {
    if (!ShapedType::isDynamic(extent)) {
      value->shape.emplace_back(-1, extent);
      size = size * extent;
      continue;
    }
    auto dim = dimExpr(dims && dynamic < dims.getSymbols().size() ? dims.getSymbols()[dynamic++]
                                                                  : FlatSymbolRefAttr());
    if (!dim)
      return dim.takeError();
    value->shape.emplace_back(cast<AffineSymbolExpr>(*dim).getPosition(), 0);
    size = size * *dim;
  }
  *sizeBytes = size;
  return value;
}

llvm::Expected<AffineExpr> FunctionDescriber::layerBytes(exec::StateOp state) {
  graph::CacheType cache = cast<graph::CacheType>(state.getResult().getType());
  auto pages = dimExpr(cache.getPages());
  if (!pages)
    return pages.takeError();
  int64_t pageBytes = cache.getLayerPageBytes();
  if (pageBytes <= 0 || pageBytes % KILN_BUFFER_ALIGNMENT)
    return fail("{0}: a layer's page takes {1} bytes, which is no multiple of {2}", state.getName(),
                pageBytes, KILN_BUFFER_ALIGNMENT);
  return *pages * pageBytes;
}

llvm::Error FunctionDescriber::describeBuffer(Operation &op, schema::FunctionT &function) {
  Place place = {};
  if (auto input = dyn_cast<exec::InputOp>(op)) {
    place = {schema::Space_input, unsigned(function.inputs.size()), {}, {}};
    auto type = cast<RankedTensorType>(input.getResult().getType());
    auto value = describeValue(input.getName(), type, &place.sizeBytes);
    if (!value)
      return value.takeError();
    if (std::optional<AffineMap> limit = input.getIndexLimit()) {
      auto described = exprFromAffine(*limit);
      if (!described)
        return described.takeError();
      (*value)->index_limit = std::move(*described);
    }
    function.inputs.push_back(std::move(*value));
  } else if (auto output = dyn_cast<exec::OutputOp>(op)) {
    place = {schema::Space_output, unsigned(function.outputs.size()), {}, {}};
    auto type = cast<RankedTensorType>(output.getResult().getType());
    auto value = describeValue(output.getName(), type, &place.sizeBytes);
    if (!value)
      return value.takeError();
    function.outputs.push_back(std::move(*value));
  } else if (auto state = dyn_cast<exec::StateOp>(op)) {
    auto bytes = layerBytes(state);
    if (!bytes)
      return bytes.takeError();
    place = {schema::Space_state, unsigned(function.states.size()), {}, *bytes};
    auto described = std::make_unique<schema::StateT>();
    described->name = state.getName().str();
    auto size = expr(*bytes * cast<graph::CacheType>(state.getResult().getType()).getLayers());
    if (!size)
      return size.takeError();
    described->size_bytes = std::move(*size);
    function.states.push_back(std::move(described));
  } else if (auto weight = dyn_cast<exec::WeightOp>(op)) {
    auto found = weights.find(weight.getWeight());
    if (found == weights.end())
      return fail("{0}: no weight @{1}", func.getSymName(), weight.getWeight());
    int64_t bytes = int64_t(program.weights[found->second]->size_bytes);
    place = {schema::Space_weight, found->second, {}, constant(bytes)};
  } else if (auto buffer = dyn_cast<exec::BufferOp>(op)) {
    if (!buffer.getOffset())
      return fail("{0}: a buffer has no offset; memory is not planned", func.getSymName());
    place = {schema::Space_arena, 0, buffer.getOffset()->getResult(0),
             buffer.getBytes().getResult(0)};
  } else {
    return llvm::Error::success();
  }
  places[op.getResult(0)] = place;
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<schema::StepT>>
FunctionDescriber::describeLaunch(exec::LaunchOp launch) {
  auto step = std::make_unique<schema::StepT>();
  step->kind = schema::StepKind_launch;
  step->name = nameOf(launch.getLoc());
  if (step->name.empty())
    step->name = launch.getKernel().str();
  auto kernel = kernels.find(launch.getKernel());
  if (kernel == kernels.end())
    return fail("{0}: no kernel @{1}", step->name, launch.getKernel());
  step->kernel = kernel->second;
  size_t cache = 0;
  for (Value operand : launch->getOperands()) {
    auto found = places.find(operand);
    if (found == places.end())
      return fail("{0}: binds a value that is no buffer of the function", step->name);
    Place place = found->second;
    if (auto type = dyn_cast<graph::CacheType>(operand.getType())) {
      int64_t layer = launch.getLayers()[cache++];
      if (layer < 0 || layer >= type.getLayers())
        return fail("{0}: layer {1} of a cache of {2}", step->name, layer, type.getLayers());
      place.offset = place.sizeBytes * layer;
    }
    auto binding = std::make_unique<schema::BindingT>();
    binding->space = place.space;
    binding->index = place.index;
    auto size = expr(place.sizeBytes);
    if (!size)
      return size.takeError();
    binding->size_bytes = std::move(*size);
    if (place.offset) {
      auto offset = expr(place.offset);
      if (!offset)
        return offset.takeError();
      binding->offset = std::move(*offset);
    }
    step->bindings.push_back(std::move(binding));
  }
  if (step->bindings.size() != program.kernels[step->kernel]->bindings)
    return fail("{0}: binds {1} buffers, @{2} takes {3}", step->name, step->bindings.size(),
                launch.getKernel(), program.kernels[step->kernel]->bindings);
  return step;
}

llvm::Expected<std::unique_ptr<schema::FunctionT>> FunctionDescriber::describe() {
  auto function = std::make_unique<schema::FunctionT>();
  function->name = func.getSymName().str();
  for (auto dim : func.getDims().getAsRange<exec::DimBoundsAttr>()) {
    auto described = std::make_unique<schema::DimT>();
    described->name = dim.getName().str();
    described->min = dim.getMin();
    described->max = dim.getMax();
    function->dims.push_back(std::move(described));
  }
  if (!func.getArenaBytes() || !func.getLowerBoundBytes())
    return fail("{0}: memory is not planned", func.getSymName());
  for (auto [map, result] :
       {std::pair(*func.getArenaBytes(), &function->arena_bytes),
        std::pair(*func.getLowerBoundBytes(), &function->arena_lower_bound_bytes)}) {
    auto bytes = exprFromAffine(map);
    if (!bytes)
      return bytes.takeError();
    *result = std::move(*bytes);
  }
  for (Operation &op : func.getBody().front()) {
    if (llvm::Error error = describeBuffer(op, *function))
      return error;
    if (auto launch = dyn_cast<exec::LaunchOp>(op)) {
      auto step = describeLaunch(launch);
      if (!step)
        return step.takeError();
      function->steps.push_back(std::move(*step));
    } else if (isa<exec::BarrierOp>(op)) {
      auto step = std::make_unique<schema::StepT>();
      step->kind = schema::StepKind_barrier;
      function->steps.push_back(std::move(step));
    }
  }
  return function;
}

// ---- Kernels and weights ----------------------------------------------------------------------

/// "rms_norm, matmul, slice x3"
static std::string describeOps(exec::KernelOp kernel) {
  SmallVector<std::pair<std::string, unsigned>> runs;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    std::string name = op.getName().stripDialect().str();
    if (runs.empty() || runs.back().first != name)
      runs.emplace_back(name, 0);
    ++runs.back().second;
  }
  return llvm::join(llvm::map_range(runs,
                                    [](const auto &run) {
                                      return run.second == 1
                                                 ? run.first
                                                 : llvm::formatv("{0} x{1}", run.first, run.second);
                                    }),
                    ", ");
}

/// Multiplications of the kernel's matmuls for one launch; null where it has none.
static AffineExpr countMacs(exec::KernelOp kernel) {
  AffineExpr macs;
  kernel.walk([&](Operation *op) {
    int64_t perRow;
    if (auto matmul = dyn_cast<graph::MatmulOp>(op))
      perRow = cast<RankedTensorType>(matmul.getWeight().getType()).getNumElements();
    else if (auto experts = dyn_cast<graph::ExpertsMatmulOp>(op))
      perRow = cast<RankedTensorType>(experts.getWeight().getType()).getNumElements() /
               int64_t(experts.getExperts()) * int64_t(experts.getUsed());
    else
      return;
    auto result = cast<RankedTensorType>(op->getResult(0).getType());
    AffineExpr rows;
    if (FlatSymbolRefAttr symbol = graph::getRowSymbol(result)) {
      for (auto [i, name] : llvm::enumerate(kernel.getDims().getAsValueRange<StringAttr>()))
        if (name == symbol.getValue())
          rows = getAffineSymbolExpr(i, kernel.getContext());
    } else if (!result.isDynamicDim(0)) {
      rows = getAffineConstantExpr(result.getDimSize(0), kernel.getContext());
    }
    if (rows)
      macs = macs ? macs + rows * perRow : rows * perRow;
  });
  return macs;
}

static llvm::Expected<std::unique_ptr<schema::KernelT>> describeKernel(exec::KernelOp kernel) {
  auto described = std::make_unique<schema::KernelT>();
  described->name = kernel.getSymName().str();
  described->bindings = unsigned(kernel.getRowStrides().size());
  described->description = describeOps(kernel);
  if (AffineExpr macs = countMacs(kernel)) {
    auto expr = exprFromAffine(macs, kernel.getDims().size());
    if (!expr)
      return expr.takeError();
    described->macs = std::move(*expr);
  }
  return described;
}

/// Gives every weight that a function uses a place in the weights section.
static llvm::Error describeWeights(ModuleOp module, ProgramDescription &description,
                                   llvm::StringMap<unsigned> &weights) {
  SymbolTable symbols(module);
  llvm::MapVector<Attribute, unsigned> known; // by what is stored
  uint64_t offset = 0;
  llvm::Error error = llvm::Error::success();
  module.walk([&](exec::WeightOp use) {
    auto weight = symbols.lookup<graph::WeightOp>(use.getWeight());
    if (!weight) {
      error = fail("no weight @{0}", use.getWeight());
      return WalkResult::interrupt();
    }
    auto key = ArrayAttr::get(module.getContext(),
                              {weight.getSources(), weight.getTransforms(), weight.getTypeAttr(),
                               weight.getFormatAttr(), weight.getLayoutAttr()});
    auto [entry, isNew] = known.insert({key, unsigned(description.weights.size())});
    weights[use.getWeight()] = entry->second;
    if (!isNew)
      return WalkResult::advance();
    auto bytes = getPackedBytes(weight);
    if (!bytes) {
      error = bytes.takeError();
      return WalkResult::interrupt();
    }
    auto described = std::make_unique<schema::WeightT>();
    described->name = weight.getSymName().str();
    described->offset = offset;
    described->size_bytes = *bytes;
    described->format = weight.getFormat().str();
    described->layout = weight.getLayout().str();
    for (int64_t dim : cast<RankedTensorType>(weight.getType()).getShape())
      described->shape.push_back(uint64_t(dim));
    offset = llvm::alignTo(offset + *bytes, KILN_WEIGHT_ALIGNMENT);
    description.program.weights.push_back(std::move(described));
    description.weights.push_back(weight);
    return WalkResult::advance();
  });
  return error;
}

llvm::Expected<ProgramDescription> kiln::describeProgram(ModuleOp module) {
  ProgramDescription description;
  schema::ProgramT &program = description.program;
  program.abi_version = KILN_ABI_VERSION;
  llvm::StringMap<unsigned> weights, kernels;
  if (llvm::Error error = describeWeights(module, description, weights))
    return error;
  for (auto kernel : module.getOps<exec::KernelOp>()) {
    auto described = describeKernel(kernel);
    if (!described)
      return described.takeError();
    kernels[kernel.getSymName()] = unsigned(program.kernels.size());
    program.kernels.push_back(std::move(*described));
  }
  for (auto func : module.getOps<exec::FuncOp>()) {
    auto function = FunctionDescriber(func, kernels, weights, program).describe();
    if (!function)
      return function.takeError();
    program.functions.push_back(std::move(*function));
  }
  if (program.functions.empty())
    return fail("the module has no exec.func to write");
  if (llvm::Error error = describeFacts(module, program))
    return error;
  return description;
}
