// Describes one function: a table of dims, values, states and steps. Every launch binds buffers as
// (space, offset, size) with expressions of the dims; marks become numbers of steps.
#include "compiler/artifact/DescribeFunction.h"
#include "compiler/artifact/ExprFromAffine.h"
#include "kiln/abi.h"
#include "llvm/ADT/TypeSwitch.h"
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
  if (auto integer = dyn_cast<IntegerType>(type)) {
    static const struct {
      unsigned width;
      schema::DType isSigned, isUnsigned;
    } widths[] = {{1, schema::DType_boolean, schema::DType_boolean},
                  {2, schema::DType_i2, schema::DType_u2},
                  {4, schema::DType_i4, schema::DType_u4},
                  {8, schema::DType_i8, schema::DType_u8},
                  {16, schema::DType_i16, schema::DType_u16},
                  {32, schema::DType_i32, schema::DType_u32},
                  {64, schema::DType_i64, schema::DType_u64}};
    for (const auto &known : widths)
      if (integer.getWidth() == known.width)
        return integer.isUnsigned() ? known.isUnsigned : known.isSigned;
  }
  int dtype = llvm::TypeSwitch<Type, int>(type)
                  .Case<Float32Type>([](Type) { return schema::DType_f32; })
                  .Case<Float16Type>([](Type) { return schema::DType_f16; })
                  .Case<BFloat16Type>([](Type) { return schema::DType_bf16; })
                  .Case<Float64Type>([](Type) { return schema::DType_f64; })
                  .Case<Float8E4M3FNType>([](Type) { return schema::DType_f8e4m3fn; })
                  .Case<Float8E4M3FNUZType>([](Type) { return schema::DType_f8e4m3fnuz; })
                  .Case<Float8E5M2Type>([](Type) { return schema::DType_f8e5m2; })
                  .Case<Float8E5M2FNUZType>([](Type) { return schema::DType_f8e5m2fnuz; })
                  .Case<Float8E8M0FNUType>([](Type) { return schema::DType_f8e8m0; })
                  .Case<Float4E2M1FNType>([](Type) { return schema::DType_f4e2m1; })
                  .Default([](Type) { return -1; });
  if (dtype >= 0)
    return schema::DType(dtype);
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
    AffineMap offset; // null: 0 or unused
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
  llvm::Error describeDims(schema::FunctionT &function);
  llvm::Error describeRequirements(schema::FunctionT &function);
  llvm::Expected<std::unique_ptr<schema::BindingT>> describeBinding(StringRef step, Value value,
                                                                    const int64_t *layer);
  llvm::Expected<std::unique_ptr<schema::StepT>> describeLaunch(exec::LaunchOp launch);
  /// Null for an op that is no step.
  llvm::Expected<std::unique_ptr<schema::StepT>> describeStep(Operation &op);
  llvm::Error findMarks();
  llvm::Expected<unsigned> stepAt(int64_t mark);

  exec::FuncOp func;
  const llvm::StringMap<unsigned> &kernels, &weights;
  const schema::ProgramT &program;
  std::vector<std::string> dimNames;
  DenseMap<Value, Place> places;
  DenseMap<int64_t, unsigned> marks; // the step that stands at each
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
    place = {schema::Space_arena, 0, *buffer.getOffset(), buffer.getBytes().getResult(0)};
  } else if (auto view = dyn_cast<exec::ViewOp>(op)) {
    auto found = places.find(view.getBuffer());
    if (found == places.end())
      return fail("{0}: views a value that is no buffer of the function", func.getSymName());
    place = found->second;
  } else {
    return llvm::Error::success();
  }
  places[op.getResult(0)] = place;
  return llvm::Error::success();
}

/// `layer`: of a cache, the one that is bound.
llvm::Expected<std::unique_ptr<schema::BindingT>>
FunctionDescriber::describeBinding(StringRef step, Value value, const int64_t *layer) {
  auto found = places.find(value);
  if (found == places.end())
    return fail("{0}: binds a value that is no buffer of the function", step);
  Place place = found->second;
  if (layer) {
    int64_t layers = cast<graph::CacheType>(value.getType()).getLayers();
    if (*layer < 0 || *layer >= layers)
      return fail("{0}: layer {1} of a cache of {2}", step, *layer, layers);
    place.offset = AffineMap::get(0, dimNames.size(), place.sizeBytes * *layer);
  }
  auto binding = std::make_unique<schema::BindingT>();
  binding->space = place.space;
  binding->index = place.index;
  auto size = expr(place.sizeBytes);
  if (!size)
    return size.takeError();
  binding->size_bytes = std::move(*size);
  if (place.offset) {
    auto offset = exprFromAffine(place.offset);
    if (!offset)
      return offset.takeError();
    binding->offset = std::move(*offset);
  }
  return binding;
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
    bool isCache = isa<graph::CacheType>(operand.getType());
    auto binding =
        describeBinding(step->name, operand, isCache ? &launch.getLayers()[cache++] : nullptr);
    if (!binding)
      return binding.takeError();
    step->bindings.push_back(std::move(*binding));
  }
  if (step->bindings.size() != program.kernels[step->kernel]->bindings)
    return fail("{0}: binds {1} buffers, @{2} takes {3}", step->name, step->bindings.size(),
                launch.getKernel(), program.kernels[step->kernel]->bindings);
  return step;
}

// ---- Steps ------------------------------------------------------------------------------------

static bool isStep(Operation &op) {
  return isa<exec::LaunchOp, exec::BarrierOp, exec::BranchOp, exec::JumpOp, exec::SetDimsOp>(op);
}

llvm::Error FunctionDescriber::findMarks() {
  unsigned steps = 0;
  for (Operation &op : func.getBody().front()) {
    steps += isStep(op);
    if (auto mark = dyn_cast<exec::MarkOp>(op))
      if (!marks.insert({mark.getNumber(), steps}).second)
        return fail("{0}: a second mark {1}", func.getSymName(), mark.getNumber());
  }
  return llvm::Error::success();
}

llvm::Expected<unsigned> FunctionDescriber::stepAt(int64_t mark) {
  auto found = marks.find(mark);
  if (found == marks.end())
    return fail("{0}: no mark {1}", func.getSymName(), mark);
  return found->second;
}

llvm::Expected<std::unique_ptr<schema::StepT>> FunctionDescriber::describeStep(Operation &op) {
  if (auto launch = dyn_cast<exec::LaunchOp>(op))
    return describeLaunch(launch);
  if (!isStep(op))
    return nullptr;
  auto step = std::make_unique<schema::StepT>();
  step->name = nameOf(op.getLoc());
  Value read;
  std::optional<int64_t> mark;
  if (auto branch = dyn_cast<exec::BranchOp>(op)) {
    step->kind = schema::StepKind_branch;
    read = branch.getCondition();
    mark = branch.getMark();
  } else if (auto jump = dyn_cast<exec::JumpOp>(op)) {
    step->kind = schema::StepKind_jump;
    mark = jump.getMark();
  } else if (auto set = dyn_cast<exec::SetDimsOp>(op)) {
    step->kind = schema::StepKind_set_dims;
    read = set.getValues();
    for (int64_t dim : set.getDims())
      step->dims.push_back(unsigned(dim));
  } else {
    step->kind = schema::StepKind_barrier;
    step->name.clear();
  }
  if (mark) {
    auto target = stepAt(*mark);
    if (!target)
      return target.takeError();
    step->target = *target;
  }
  if (read) {
    auto binding = describeBinding(op.getName().getStringRef(), read, nullptr);
    if (!binding)
      return binding.takeError();
    step->bindings.push_back(std::move(*binding));
  }
  return step;
}

// ---- Functions --------------------------------------------------------------------------------

llvm::Error FunctionDescriber::describeDims(schema::FunctionT &function) {
  for (auto [i, dim] : llvm::enumerate(func.getDims().getAsRange<exec::DimBoundsAttr>())) {
    auto described = std::make_unique<schema::DimT>();
    described->name = dim.getName().str();
    described->min = dim.getMin();
    described->max = dim.getMax();
    described->computed = dim.getComputed();
    if (AffineMapAttr value = dim.getValue()) {
      bool isEarlier = true;
      for (AffineExpr result : value.getValue().getResults())
        result.walk([&, before = i](AffineExpr part) {
          if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
            isEarlier = isEarlier && symbol.getPosition() < before;
        });
      if (!isEarlier)
        return fail("{0}: dim {1} follows from one that comes later", func.getSymName(),
                    dim.getName());
      auto expr = exprFromAffine(value.getValue());
      if (!expr)
        return expr.takeError();
      described->value = std::move(*expr);
    }
    function.dims.push_back(std::move(described));
  }
  return llvm::Error::success();
}

/// The attribute `requirements`: an array of [found, expected, text].
llvm::Error FunctionDescriber::describeRequirements(schema::FunctionT &function) {
  auto requirements = func->getAttrOfType<ArrayAttr>("requirements");
  if (!requirements)
    return llvm::Error::success();
  for (Attribute attribute : requirements) {
    auto parts = dyn_cast<ArrayAttr>(attribute);
    auto found = parts && parts.size() == 3 ? dyn_cast<AffineMapAttr>(parts[0]) : AffineMapAttr();
    auto expected = found ? dyn_cast<AffineMapAttr>(parts[1]) : AffineMapAttr();
    auto text = expected ? dyn_cast<StringAttr>(parts[2]) : StringAttr();
    if (!text || found.getValue().getNumResults() != 1 || expected.getValue().getNumResults() != 1)
      return fail("{0}: a requirement is not [map, map, text]", func.getSymName());
    auto described = std::make_unique<schema::RequirementT>();
    described->text = text.str();
    for (auto [map, result] :
         {std::pair(found, &described->found), std::pair(expected, &described->expected)}) {
      auto value = expr(map.getValue().getResult(0));
      if (!value)
        return value.takeError();
      *result = std::move(*value);
    }
    function.requirements.push_back(std::move(described));
  }
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<schema::FunctionT>> FunctionDescriber::describe() {
  auto function = std::make_unique<schema::FunctionT>();
  function->name = func.getSymName().str();
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
  if (llvm::Error error = describeDims(*function))
    return error;
  if (llvm::Error error = describeRequirements(*function))
    return error;
  if (llvm::Error error = findMarks())
    return error;
  for (Operation &op : func.getBody().front()) {
    if (llvm::Error error = describeBuffer(op, *function))
      return error;
    auto step = describeStep(op);
    if (!step)
      return step.takeError();
    if (*step)
      function->steps.push_back(std::move(*step));
  }
  return function;
}

llvm::Expected<std::unique_ptr<schema::FunctionT>>
kiln::describeFunction(exec::FuncOp func, const llvm::StringMap<unsigned> &kernels,
                       const llvm::StringMap<unsigned> &weights, const schema::ProgramT &program) {
  return FunctionDescriber(func, kernels, weights, program).describe();
}
