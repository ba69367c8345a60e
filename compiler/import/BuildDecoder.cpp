// Builds the one language-model function of a decoder, for every family: the record's fields choose
// norm, position, activation, biases and weight orientation. After it the module holds the five
// dims, one graph.weight for each tensor that is used, and graph.func @decode with one op per op of
// the model, each at a location named after its module ("model.layers.3.self_attn.q_proj").
#include "compiler/import/BuildDecoder.h"
#include "ir/Graph/GraphDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static constexpr int64_t mostSequences = 256, mostPages = 1 << 20;

namespace {
class DecoderBuilder {
public:
  DecoderBuilder(const DecoderConfig &config, const DecoderPlan &plan, const ModelTensors &tensors,
                 const ImportOptions &options, MLIRContext &context)
      : config(config), plan(plan), family(*config.family), tensors(tensors), options(options),
        b(&context), module(ModuleOp::create(UnknownLoc::get(&context))) {}

  OwningOpRef<ModuleOp> build() {
    b.setInsertionPointToStart(module->getBody());
    declareDims();
    FuncOp function = declareFunction();
    buildBody(function);
    return std::move(module);
  }

private:
  enum Dim : unsigned { Tokens, Rows, Slots, Blocks, Pages, dimCount };
  enum Input : unsigned { TokenIds, Positions, SlotIds, BlockTable, OutRows, Cache };

  // ---- Declarations -------------------------------------------------------------------------

  int64_t getBlocks() const { return llvm::divideCeil(config.contextLength, options.pageSize); }

  Location locate(const Twine &name) { return NameLoc::get(b.getStringAttr(name)); }

  FlatSymbolRefAttr symbol(Dim dim) {
    static constexpr StringLiteral names[dimCount] = {"n", "m", "s", "b", "p"};
    return FlatSymbolRefAttr::get(b.getContext(), names[dim]);
  }

  void declareDims() {
    int64_t maxTokens = std::min(options.maxTokens, config.contextLength);
    auto declare = [&](Dim dim, int64_t min, int64_t max) {
      StringRef name = symbol(dim).getValue();
      DimOp::create(b, locate(name), name, min, max);
    };
    declare(Tokens, 1, maxTokens);
    declare(Rows, 0, maxTokens);
    declare(Slots, 1, mostSequences);
    declare(Blocks, 1, getBlocks());
    declare(Pages, 1, mostPages);
  }

  RankedTensorType typed(Type element, Dim rows, ArrayRef<int64_t> columns = {}) {
    SmallVector<int64_t> shape = {ShapedType::kDynamic};
    llvm::append_range(shape, columns);
    return RankedTensorType::get(shape, element, DimsAttr::get(b.getContext(), symbol(rows)));
  }

  /// Activations: [rows, columns] of f32.
  RankedTensorType activation(int64_t columns, Dim rows = Tokens) {
    return typed(b.getF32Type(), rows, columns);
  }

  AffineMap limit(AffineExpr expression) { return AffineMap::get(0, dimCount, expression); }
  AffineExpr dim(Dim dim) { return b.getAffineSymbolExpr(dim); }

  /// Positions stay below the context: below every page but the last in full, so b * page_size less
  /// what the last page has over, once b has reached it.
  AffineExpr positionLimit() {
    int64_t excess = getBlocks() * options.pageSize - config.contextLength;
    return dim(Blocks) * options.pageSize - dim(Blocks).floorDiv(getBlocks()) * excess;
  }

  Type cacheElementType() {
    switch (options.cache) {
    case CacheElement::F32:
      return b.getF32Type();
    case CacheElement::F16:
      return b.getF16Type();
    case CacheElement::Q8:
      return b.getI8Type();
    }
    llvm_unreachable("all elements are listed");
  }

  FuncOp declareFunction() {
    Type i32 = b.getI32Type();
    auto cache = CacheType::get(b.getContext(), config.layers, config.kvHeads, config.headDim,
                                options.pageSize, symbol(Pages), cacheElementType());
    auto table =
        RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, i32,
                              DimsAttr::get(b.getContext(), {symbol(Slots), symbol(Blocks)}));
    struct Argument {
      StringRef name;
      Type type;
      AffineExpr limit; // null: no indices
    };
    const Argument arguments[] = {
        {"tokens", typed(i32, Tokens), b.getAffineConstantExpr(config.vocabulary)},
        {"positions", typed(i32, Tokens), positionLimit()},
        {"slots", typed(i32, Tokens), dim(Slots)},
        {"block_table", table, dim(Pages)},
        {"out_rows", typed(i32, Rows), dim(Tokens)},
        {"kv_cache", cache, {}},
    };
    SmallVector<Type> types;
    SmallVector<Attribute> attributes;
    SmallVector<Location> locations;
    for (const Argument &argument : arguments) {
      NamedAttrList list;
      list.append("graph.name", b.getStringAttr(argument.name));
      if (argument.limit)
        list.append("graph.index_limit", AffineMapAttr::get(limit(argument.limit)));
      attributes.push_back(list.getDictionary(b.getContext()));
      types.push_back(argument.type);
      locations.push_back(locate(argument.name));
    }
    auto resultAttributes =
        b.getDictionaryAttr(b.getNamedAttr("graph.name", b.getStringAttr("logits")));
    Type result = activation(config.vocabulary, Rows);
    auto function = FuncOp::create(b, locate("decode"), "decode", b.getFunctionType(types, result),
                                   b.getArrayAttr(attributes), b.getArrayAttr(resultAttributes));
    function.getBody().emplaceBlock().addArguments(types, locations);
    firstWeight = function;
    return function;
  }

  // ---- Weights ------------------------------------------------------------------------------

  /// The tensor as a value, declaring its weight at first use. `transposed`: the file has [in,
  /// out].
  Value use(const std::string &tensorName, Location location, bool transposed = false) {
    const ModelTensor &tensor = tensors.byName.at(tensorName);
    WeightOp &weight = weights[tensorName];
    if (!weight)
      weight = declareWeight(tensorName, tensor, transposed);
    return WeightRefOp::create(b, location, weight.getStoredType(), weight.getSymName());
  }

  WeightOp declareWeight(StringRef name, const ModelTensor &tensor, bool transposed) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(firstWeight);
    StringRef format = *findWeightFormat(tensor.entry.dtype);
    auto source = SourceAttr::get(b.getContext(), tensor.file, name, int64_t(tensor.entry.offset),
                                  format, tensor.entry.shape);
    SmallVector<int64_t> shape = llvm::to_vector(tensor.entry.shape);
    SmallVector<Attribute> transforms;
    if (transposed) {
      std::swap(shape[0], shape[1]);
      transforms.push_back(TransposeAttr::get(b.getContext()));
    }
    return WeightOp::create(b, locate(name), name, RankedTensorType::get(shape, b.getF32Type()),
                            b.getArrayAttr(source), b.getArrayAttr(transforms), format, "rows");
  }

  // ---- Modules ------------------------------------------------------------------------------

  Value buildLinear(const LinearPlan &linear, Value input,
                    std::optional<WeightOrientation> orientation = std::nullopt) {
    Location location = locate(linear.name);
    bool transposed = orientation.value_or(family.orientation) == WeightOrientation::InOut;
    Type type =
        withShape(cast<RankedTensorType>(input.getType()), {ShapedType::kDynamic, linear.outputs});
    Value weight = use(linear.name + ".weight", location, transposed);
    Value result = MatmulOp::create(b, location, type, input, weight);
    if (linear.bias)
      result = AddOp::create(b, location, type, result, use(linear.name + ".bias", location));
    return result;
  }

  Value buildNorm(const NormPlan &norm, Value input) {
    Location location = locate(norm.name);
    Value weight = use(norm.name + ".weight", location);
    FloatAttr eps = b.getF64FloatAttr(config.normEps);
    if (!norm.bias)
      return RmsNormOp::create(b, location, input.getType(), input, weight, eps);
    Value bias = use(norm.name + ".bias", location);
    return LayerNormOp::create(b, location, input.getType(), input, weight, bias, eps);
  }

  Value buildActivation(Location location, Value input) {
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

  Value buildAdd(Location location, Value lhs, Value rhs) {
    return AddOp::create(b, location, lhs.getType(), lhs, rhs);
  }

  Value buildEmbedding() {
    Location location = locate(plan.embedding);
    Type type = activation(config.hidden);
    Value x = EmbedOp::create(b, location, type, arguments[TokenIds],
                              use(plan.embedding + ".weight", location));
    if (!plan.positions)
      return x;
    location = locate(*plan.positions);
    Value position = EmbedOp::create(b, location, type, arguments[Positions],
                                     use(*plan.positions + ".weight", location));
    return buildAdd(location, x, position);
  }

  /// Query, key and value, cut out of one result where the family has one map for all three.
  SmallVector<Value> buildQkv(const LayerPlan &layer, Value input) {
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

  Value buildRope(const Twine &name, Value input) {
    const RotaryConfig &rotary = config.rotary;
    DenseF64ArrayAttr frequencies;
    if (!rotary.frequencies.empty())
      frequencies = b.getDenseF64ArrayAttr(rotary.frequencies);
    return RopeOp::create(b, locate(name), input.getType(), input, arguments[Positions],
                          b.getI64IntegerAttr(config.headDim),
                          b.getI64IntegerAttr(rotary.rotaryDim), b.getF64FloatAttr(rotary.theta),
                          frequencies);
  }

  Value buildAttention(const LayerPlan &layer, int64_t number, Value input) {
    SmallVector<Value> qkv = buildQkv(layer, input);
    std::string name = layer.name + "." + family.modules.attentionOutput.split('.').first.str();
    if (family.position == PositionKind::Rotary) {
      qkv[0] = buildRope(name + ".rotary_emb", qkv[0]);
      qkv[1] = buildRope(name + ".rotary_emb", qkv[1]);
    }
    auto integer = [&](int64_t value) { return b.getI64IntegerAttr(value); };
    Value attended = AttentionOp::create(
        b, locate(name), qkv[0].getType(), qkv[0], qkv[1], qkv[2], arguments[Positions],
        arguments[SlotIds], arguments[BlockTable], arguments[Cache], integer(number),
        integer(config.heads), integer(config.kvHeads), integer(config.headDim),
        b.getF64FloatAttr(1 / std::sqrt(double(config.headDim))));
    return buildLinear(layer.attentionOutput, attended);
  }

  Value buildMlp(const LayerPlan &layer, Value input) {
    Location location = locate(layer.name + "." + family.modules.up.split('.').first + ".act");
    Value hidden;
    if (layer.gate) {
      Value gate = buildLinear(*layer.gate, input);
      Value up = buildLinear(layer.up, input);
      gate = buildActivation(location, gate);
      hidden = MulOp::create(b, location, gate.getType(), gate, up);
    } else {
      hidden = buildActivation(location, buildLinear(layer.up, input));
    }
    return buildLinear(layer.down, hidden);
  }

  void buildBody(FuncOp function) {
    arguments = function.getBody().getArguments();
    b.setInsertionPointToStart(&function.getBody().front());
    Value x = buildEmbedding(); // [n, hidden]
    for (auto [number, layer] : llvm::enumerate(plan.layers)) {
      Value attended = buildAttention(layer, number, buildNorm(layer.attentionNorm, x));
      x = buildAdd(locate(layer.attentionOutput.name), x, attended);
      Value fed = buildMlp(layer, buildNorm(layer.mlpNorm, x));
      x = buildAdd(locate(layer.down.name), x, fed);
    }
    // Only the rows asked for go on: [m, hidden], then [m, vocabulary].
    x = GatherOp::create(b, locate("out_rows"), activation(config.hidden, Rows), x,
                         arguments[OutRows]);
    x = buildNorm(plan.finalNorm, x);
    ReturnOp::create(b, locate("decode"), buildHead(x));
  }

  Value buildHead(Value x) {
    if (plan.head)
      return buildLinear(*plan.head, x, WeightOrientation::OutIn);
    Location location = locate(family.modules.head);
    return MatmulOp::create(b, location, activation(config.vocabulary, Rows), x,
                            use(plan.embedding + ".weight", location));
  }

  const DecoderConfig &config;
  const DecoderPlan &plan;
  const Family &family;
  const ModelTensors &tensors;
  const ImportOptions &options;
  OpBuilder b;
  OwningOpRef<ModuleOp> module;
  Operation *firstWeight = nullptr; // weights are declared before it
  std::map<std::string, WeightOp> weights;
  Block::BlockArgListType arguments;
};
} // namespace

OwningOpRef<ModuleOp> kiln::buildDecoder(const DecoderConfig &config, const DecoderPlan &plan,
                                         const ModelTensors &tensors, const ImportOptions &options,
                                         MLIRContext &context) {
  return DecoderBuilder(config, plan, tensors, options, context).build();
}
