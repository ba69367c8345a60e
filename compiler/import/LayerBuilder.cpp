// The parts that decoders and encoders are made of, one op per op of the model, each at a location
// named after its module ("model.layers.3.self_attn.q_proj"), one graph.weight for each tensor that
// is used.
#include "compiler/import/LayerBuilder.h"
#include "ir/Formats.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

LayerBuilder::LayerBuilder(const DecoderConfig &config, const DecoderPlan &plan,
                           const ModelTensors &tensors, const ImportOptions &options,
                           MLIRContext &context)
    : config(config), plan(plan), family(*config.family), options(options), b(&context),
      module(ModuleOp::create(UnknownLoc::get(&context))), tensors(tensors) {
  b.setInsertionPointToStart(module->getBody());
}

// ---- Declarations -----------------------------------------------------------------------------

Location LayerBuilder::locate(const Twine &name) { return NameLoc::get(b.getStringAttr(name)); }

int64_t LayerBuilder::getBlocks() const {
  return llvm::divideCeil(config.contextLength, options.pageSize);
}

void LayerBuilder::declareDim(StringRef name, int64_t min, int64_t max) {
  DimOp::create(b, locate(name), name, min, max);
  dims.push_back(name.str());
}

FlatSymbolRefAttr LayerBuilder::symbol(StringRef dim) {
  return FlatSymbolRefAttr::get(b.getContext(), dim);
}

AffineExpr LayerBuilder::dim(StringRef name) {
  return b.getAffineSymbolExpr(unsigned(llvm::find(dims, name) - dims.begin()));
}

RankedTensorType LayerBuilder::typed(Type element, StringRef rows, ArrayRef<int64_t> columns) {
  SmallVector<int64_t> shape = {ShapedType::kDynamic};
  llvm::append_range(shape, columns);
  return RankedTensorType::get(shape, element, DimsAttr::get(b.getContext(), symbol(rows)));
}

RankedTensorType LayerBuilder::activation(int64_t columns, StringRef rows) {
  return typed(b.getF32Type(), rows, columns);
}

RankedTensorType LayerBuilder::blockTable() {
  return RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getI32Type(),
                               DimsAttr::get(b.getContext(), {symbol("s"), symbol("b")}));
}

CacheType LayerBuilder::cacheOf(int64_t layers) {
  Type element = options.cache == CacheElement::F32   ? Type(b.getF32Type())
                 : options.cache == CacheElement::F16 ? Type(b.getF16Type())
                                                      : Type(b.getI8Type());
  return CacheType::get(b.getContext(), layers, config.kvHeads, config.headDim, options.pageSize,
                        symbol("p"), element);
}

/// Below every page but the last in full, so b * page_size less what the last page has over, once b
/// has reached it.
AffineExpr LayerBuilder::positionLimit() {
  int64_t excess = getBlocks() * options.pageSize - config.contextLength;
  return dim("b") * options.pageSize - dim("b").floorDiv(getBlocks()) * excess;
}

FuncOp LayerBuilder::declareFunction(StringRef name, ArrayRef<Argument> arguments,
                                     StringRef resultName, Type result) {
  SmallVector<Type> types;
  SmallVector<Attribute> attributes;
  SmallVector<Location> locations;
  for (const Argument &argument : arguments) {
    NamedAttrList list;
    list.append("graph.name", b.getStringAttr(argument.name));
    if (argument.limit)
      list.append("graph.index_limit",
                  AffineMapAttr::get(AffineMap::get(0, unsigned(dims.size()), argument.limit)));
    attributes.push_back(list.getDictionary(b.getContext()));
    types.push_back(argument.type);
    locations.push_back(locate(argument.name));
  }
  auto resultAttributes =
      b.getDictionaryAttr(b.getNamedAttr("graph.name", b.getStringAttr(resultName)));
  auto function = FuncOp::create(b, locate(name), name, b.getFunctionType(types, result),
                                 b.getArrayAttr(attributes), b.getArrayAttr(resultAttributes));
  function.getBody().emplaceBlock().addArguments(types, locations);
  firstWeight = function;
  b.setInsertionPointToStart(&function.getBody().front());
  return function;
}

// ---- Weights ----------------------------------------------------------------------------------

/// The tensors, one below the other, as a value, declaring their weight, `name`, at first use.
Value LayerBuilder::use(ArrayRef<std::string> tensorNames, const std::string &name,
                        Location location, const Making &making) {
  WeightOp &weight = weights[name];
  if (!weight)
    weight = declareWeight(tensorNames, name, making);
  return WeightRefOp::create(b, location, weight.getStoredType(), weight.getSymName());
}
Value LayerBuilder::use(const std::string &tensorName, Location location) {
  return use(tensorName, tensorName, location, {});
}

/// Adds the tensor's sources and its rows to `shape`.
void LayerBuilder::addSources(const std::string &tensorName, const Making &making,
                              SmallVector<int64_t> &shape, SmallVectorImpl<Attribute> &sources) {
  const ModelTensor &tensor = tensors.byName.at(tensorName);
  SmallVector<int64_t> part = llvm::to_vector(tensor.entry.shape);
  // Neighbouring rows are a byte range of their own.
  int64_t rowBytes = int64_t(tensor.entry.sizeBytes) / part[0];
  OutputRange all = {0, part[0]};
  int64_t rows = shape.empty() ? 0 : shape[0];
  for (OutputRange range : making.ranges.empty() ? ArrayRef(all) : making.ranges) {
    part[0] = range.count;
    rows += range.count;
    sources.push_back(SourceAttr::get(b.getContext(), tensor.file, tensor.entry.name,
                                      int64_t(tensor.entry.offset) + range.first * rowBytes,
                                      *findElementType(tensor.entry.dtype), part,
                                      tensor.interleaved));
  }
  shape = part;
  shape[0] = rows;
}

WeightOp LayerBuilder::declareWeight(ArrayRef<std::string> tensorNames, StringRef name,
                                     const Making &making) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(firstWeight);
  SmallVector<int64_t> shape;
  SmallVector<Attribute> sources, transforms;
  for (const std::string &tensorName : tensorNames)
    addSources(tensorName, making, shape, sources);
  if (making.transposed) {
    std::swap(shape[0], shape[1]);
    transforms.push_back(TransposeAttr::get(b.getContext()));
  }
  if (making.offset != 0)
    transforms.push_back(OffsetAttr::get(b.getContext(), b.getF64FloatAttr(making.offset)));
  if (sources.size() > 1)
    transforms.push_back(ConcatAttr::get(b.getContext()));
  StringRef element = *findElementType(tensors.byName.at(tensorNames.front()).entry.dtype);
  StringRef format = findFormat(element) ? element : "f32"; // which holds the values of blocks
  return WeightOp::create(b, locate(name), name, RankedTensorType::get(shape, b.getF32Type()),
                          b.getArrayAttr(sources), b.getArrayAttr(transforms), format, "rows");
}

// ---- Modules ----------------------------------------------------------------------------------

Value LayerBuilder::useOf(const LinearPlan &linear, StringRef tensor, Location location) {
  bool transposed = tensor == "weight" && linear.orientation == WeightOrientation::InOut;
  return use((linear.module + "." + tensor).str(), (linear.name + "." + tensor).str(), location,
             {transposed, linear.ranges});
}

Value LayerBuilder::buildLinear(const LinearPlan &linear, Value input) {
  Location location = locate(linear.name);
  Type type =
      withShape(cast<RankedTensorType>(input.getType()), {ShapedType::kDynamic, linear.outputs});
  Value result = MatmulOp::create(b, location, type, input, useOf(linear, "weight", location));
  if (linear.bias)
    result = AddOp::create(b, location, type, result, useOf(linear, "bias", location));
  return result;
}

Value LayerBuilder::buildNorm(const NormPlan &norm, Value input) {
  Location location = locate(norm.name);
  std::string name = norm.name + ".weight";
  Value weight = use(name, name, location, {false, {}, family.normOffset});
  FloatAttr eps = b.getF64FloatAttr(config.normEps);
  if (!norm.bias)
    return RmsNormOp::create(b, location, input.getType(), input, weight, eps);
  Value bias = use(norm.name + ".bias", location);
  return LayerNormOp::create(b, location, input.getType(), input, weight, bias, eps);
}

Value LayerBuilder::buildActivation(Location location, Value input) {
  Type type = input.getType();
  switch (config.activation) {
  case Activation::Silu:
    return SiluOp::create(b, location, type, input);
  case Activation::Relu:
    return ReluOp::create(b, location, type, input);
  case Activation::Gelu:
    return GeluOp::create(b, location, type, input);
  case Activation::GeluTanh:
    return GeluTanhOp::create(b, location, type, input);
  }
  llvm_unreachable("every activation is in the switch");
}

Value LayerBuilder::buildAdd(Location location, Value lhs, Value rhs) {
  return AddOp::create(b, location, lhs.getType(), lhs, rhs);
}

// ---- Embedding --------------------------------------------------------------------------------

Value LayerBuilder::buildTable(const std::string &module, Value ids, int64_t firstRow) {
  Location location = locate(module);
  std::string name = module + ".weight";
  OutputRange rows = {firstRow, plan.tensors.at(name)[0] - firstRow};
  Value table = use(name, name, location, {false, rows, 0});
  return EmbedOp::create(b, location, activation(config.hidden), ids, table);
}

Value LayerBuilder::buildEmbedding() {
  Value x = buildTable(plan.embedding, inputs.tokens);
  if (config.embeddingScale != 1)
    x = ScaleOp::create(b, locate(plan.embedding), x.getType(), x,
                        b.getF64FloatAttr(config.embeddingScale));
  if (plan.positions)
    x = buildAdd(locate(*plan.positions), x,
                 buildTable(*plan.positions, inputs.positions, config.firstPosition));
  if (plan.tokenTypes)
    x = buildAdd(locate(*plan.tokenTypes), x, buildTable(*plan.tokenTypes, inputs.tokenTypes));
  return buildNorm(plan.embeddingNorm, x);
}

// ---- Layers -----------------------------------------------------------------------------------

/// Query, key and value, cut out of one result where the family has one map for all three.
SmallVector<Value> LayerBuilder::buildQkv(const LayerPlan &layer, Value input) {
  SmallVector<Value> results;
  for (const LinearPlan &linear : layer.qkv)
    results.push_back(buildLinear(linear, input));
  if (results.size() == 3)
    return results;
  Location location = locate(layer.qkv.front().name);
  Value fused = results.front();
  results.clear();
  int64_t offset = 0;
  for (int64_t heads : {config.heads, config.kvHeads, config.kvHeads}) {
    int64_t size = heads * config.headDim;
    results.push_back(SliceOp::create(b, location, activation(size), fused, offset, size));
    offset += size;
  }
  return results;
}

Value LayerBuilder::buildRope(const Twine &name, const RotaryConfig &rotary, Value input) {
  DenseF64ArrayAttr frequencies;
  if (!rotary.frequencies.empty())
    frequencies = b.getDenseF64ArrayAttr(rotary.frequencies);
  FloatAttr magnitude;
  if (rotary.magnitude != 1)
    magnitude = b.getF64FloatAttr(rotary.magnitude);
  return RopeOp::create(b, locate(name), input.getType(), input, inputs.positions,
                        b.getI64IntegerAttr(config.headDim), b.getI64IntegerAttr(rotary.rotaryDim),
                        b.getF64FloatAttr(rotary.theta), frequencies, magnitude);
}

Value LayerBuilder::buildAttention(const LayerPlan &layer, int64_t number, Value input) {
  const LayerConfig &layerConfig = config.layerConfigs[size_t(number)];
  SmallVector<Value> qkv = buildQkv(layer, input);
  std::string name = layer.name + "." + family.modules.attentionOutput.split('.').first.str();
  qkv[0] = buildNorm(layer.queryNorm, qkv[0]);
  qkv[1] = buildNorm(layer.keyNorm, qkv[1]);
  if (layerConfig.rotation != LayerConfig::Rotation::None) {
    bool isLocal = layerConfig.rotation == LayerConfig::Rotation::Local;
    for (Value &value : MutableArrayRef(qkv).take_front(2))
      value = buildRope(name + ".rotary_emb", isLocal ? config.localRotary : config.rotary, value);
  }
  auto integer = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  auto attention = AttentionOp::create(
      b, locate(name), qkv[0].getType(), qkv[0], qkv[1], qkv[2], inputs.positions, inputs.slots,
      inputs.blockTable, inputs.cache, inputs.lengths, integer(inputs.lengths ? 0 : number),
      integer(config.heads), integer(config.kvHeads), integer(config.headDim),
      b.getF64FloatAttr(config.scoreScale), IntegerAttr(), FloatAttr(), DenseF64ArrayAttr());
  if (layerConfig.window)
    attention.setWindowAttr(integer(layerConfig.window));
  if (config.attentionSoftcap != 0)
    attention.setSoftcapAttr(b.getF64FloatAttr(config.attentionSoftcap));
  if (!config.slopes.empty())
    attention.setSlopesAttr(b.getDenseF64ArrayAttr(config.slopes));
  return buildLinear(layer.attentionOutput, attention);
}

Value LayerBuilder::buildMlp(const LayerPlan &layer, Value input) {
  if (layer.experts)
    return buildExperts(layer, input);
  Location location = locate(layer.name + "." + family.modules.down.split('.').first + ".act");
  Value hidden;
  if (layer.gate) {
    Value gate = buildLinear(*layer.gate, input);
    Value up = buildLinear(*layer.up, input);
    gate = buildActivation(location, gate);
    hidden = MulOp::create(b, location, gate.getType(), gate, up);
  } else {
    hidden = buildActivation(location, buildLinear(*layer.up, input));
  }
  return buildLinear(*layer.down, hidden);
}

/// Rows times one map of the experts chosen for each.
Value LayerBuilder::buildExpertsMatmul(ArrayRef<LinearPlan> maps, const std::string &name,
                                       Value input, Value routes) {
  std::vector<std::string> tensorNames;
  for (const LinearPlan &map : maps)
    tensorNames.push_back(map.module + ".weight");
  Location location = locate(name);
  Value weight = use(tensorNames, name + ".weight", location, {});
  return ExpertsMatmulOp::create(b, location, activation(config.expertsUsed * maps.front().outputs),
                                 input, routes, weight, b.getI64IntegerAttr(config.experts),
                                 b.getI64IntegerAttr(config.expertsUsed));
}

Value LayerBuilder::buildExperts(const LayerPlan &layer, Value input) {
  std::string name = layer.name + "." + family.modules.experts.str();
  const ExpertsPlan &experts = *layer.experts;
  Value logits = buildLinear(experts.router, input);
  Value routes = RouteOp::create(b, locate(experts.router.name), activation(2 * config.expertsUsed),
                                 logits, b.getI64IntegerAttr(config.expertsUsed),
                                 b.getBoolAttr(config.normalizeExperts));
  auto expertsMatmul = [&](ArrayRef<LinearPlan> maps, StringRef map, Value x) {
    return buildExpertsMatmul(maps, name + "." + map.str(), x, routes);
  };
  Value gate = expertsMatmul(experts.gate, family.modules.expertGate, input);
  Value up = expertsMatmul(experts.up, family.modules.expertUp, input);
  gate = buildActivation(locate(name + ".act"), gate);
  Value hidden = MulOp::create(b, locate(name + ".act"), gate.getType(), gate, up);
  Value down = expertsMatmul(experts.down, family.modules.expertDown, hidden);
  return CombineOp::create(b, locate(name), activation(config.hidden), down, routes);
}

/// x and what attention and MLP make of it; each may have norms before and after it and of the sum,
/// and the MLP sees what attention added unless both read the same x.
Value LayerBuilder::buildLayer(const LayerPlan &layer, int64_t number, Value x) {
  Value normed = buildNorm(layer.attentionNorm, x);
  Value attended = buildNorm(layer.attentionPostNorm, buildAttention(layer, number, normed));
  Value y = buildAdd(locate(layer.attentionOutput.name), x, attended);
  y = buildNorm(layer.attentionSumNorm, y);
  Value input = config.parallelResidual ? x : y;
  if (config.parallelResidual && family.parallelSharesNorm)
    input = normed;
  Value fed = buildNorm(layer.mlpPostNorm, buildMlp(layer, buildNorm(layer.mlpNorm, input)));
  Value sum = buildAdd(locate(layer.down ? layer.down->name : layer.name), y, fed);
  return buildNorm(layer.mlpSumNorm, sum);
}
