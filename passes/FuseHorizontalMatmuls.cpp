// Merges matmuls of one input into one, so that the input is prepared and read once:
//
//   q = matmul h, Wq        qkv = matmul h, [Wq; Wk; Wv]
//   k = matmul h, Wk   =>   q = slice qkv [0, 64]
//   v = matmul h, Wv        k = slice qkv [64, 32] ...
//
// Biases concatenate likewise. Matmuls whose results meet in an elementwise op (gate and up) are
// left as they are: they will share a region, whose epilogue needs both results of the same column
// at once. So are matmuls whose results array ops read: those find their operands whole in memory,
// so that slices would be copied, and what follows elementwise joins each matmul's kernel.
#include "ir/Formats.h"
#include "passes/ModelNames.h"
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace kiln {
#define GEN_PASS_DEF_FUSEHORIZONTALMATMULS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {

/// A matmul that may be merged with others.
struct Candidate {
  MatmulOp matmul;
  WeightOp weight;
  AddOp biasAdd; // null where there is none
  WeightOp bias;

  Value getResult() { return biasAdd ? biasAdd.getResult() : matmul.getResult(); }
};

} // namespace

static bool isElementwise(Operation *op) {
  auto fusable = dyn_cast<FusableOpInterface>(op);
  return fusable && fusable.getFusionKind() == FusionKind::Elementwise;
}

/// The weight that a value is the only use of, or null.
static WeightOp getOwnWeight(Value value, const SymbolTable &symbols,
                             const llvm::StringMap<unsigned> &useCounts) {
  auto use = value.getDefiningOp<WeightRefOp>();
  if (!use || !use->hasOneUse() || useCounts.lookup(use.getWeight()) != 1)
    return {};
  return symbols.lookup<WeightOp>(use.getWeight());
}

/// Elementwise ops that a value reaches through elementwise ops alone.
static void collectElementwise(Value value, SmallPtrSetImpl<Operation *> &reached) {
  for (Operation *user : value.getUsers())
    if (isElementwise(user) && reached.insert(user).second)
      collectElementwise(user->getResult(0), reached);
}

/// Removes the candidates whose results meet another's, or a direct use of another's, elementwise.
static void dropMeeting(SmallVectorImpl<Candidate> &candidates) {
  llvm::DenseMap<Operation *, unsigned> reachedBy;
  SmallVector<SmallPtrSet<Operation *, 8>> reached(candidates.size());
  for (auto [candidate, ops] : llvm::zip(candidates, reached)) {
    collectElementwise(candidate.matmul.getResult(), ops);
    for (Operation *op : ops)
      ++reachedBy[op];
  }
  SmallVector<Candidate> kept;
  for (auto [candidate, ops] : llvm::zip(candidates, reached))
    if (llvm::none_of(ops, [&](Operation *op) { return reachedBy[op] > 1; }))
      kept.push_back(candidate);
  candidates.assign(kept);
}

/// Transforms of a weight before its sources are concatenated.
static ArrayRef<Attribute> getLeadingTransforms(WeightOp weight) {
  ArrayRef<Attribute> transforms = weight.getTransforms().getValue();
  return !transforms.empty() && isa<ConcatAttr>(transforms.back()) ? transforms.drop_back()
                                                                   : transforms;
}

/// Whether one format can keep what both sources hold (ir/Formats.def).
static bool haveSameBlocks(WeightOp left, WeightOp right) {
  auto keeping = [](WeightOp weight) -> const Format * {
    ArrayRef<Attribute> sources = weight.getSources().getValue();
    return sources.empty() ? nullptr
                           : findKeepingFormat(cast<SourceAttr>(sources.front()).getDtype());
  };
  return keeping(left) == keeping(right);
}

static bool canConcatenate(WeightOp left, WeightOp right) {
  auto leftType = cast<RankedTensorType>(left.getType());
  auto rightType = cast<RankedTensorType>(right.getType());
  return leftType.getRank() == rightType.getRank() && leftType.getRank() > 0 &&
         leftType.getElementType() == rightType.getElementType() &&
         leftType.getShape().drop_front() == rightType.getShape().drop_front() &&
         haveSameBlocks(left, right) && left.getFormat() == right.getFormat() &&
         left.getLayout() == right.getLayout() &&
         getLeadingTransforms(left) == getLeadingTransforms(right) &&
         llvm::none_of(getLeadingTransforms(left),
                       [](Attribute transform) { return isa<ConcatAttr>(transform); });
}

/// model.layers.0.self_attn.{q_proj,k_proj}.weight -> model.layers.0.self_attn.q_proj+k_proj.weight
static std::string joinNames(ArrayRef<StringRef> names) {
  std::string prefix = getCommonModelName(names);
  size_t start = prefix.empty() ? 0 : prefix.size() + 1;
  StringRef suffix = names.front().drop_front(std::min(start, names.front().size()));
  suffix = suffix.contains('.') ? suffix.drop_front(suffix.rfind('.')) : StringRef();
  for (StringRef name : names)
    if (name.size() < start + suffix.size() || !name.ends_with(suffix))
      suffix = {};
  std::string joined = names.front().take_front(start).str();
  for (auto [i, name] : llvm::enumerate(names))
    joined += (i ? "+" : "") +
              name.drop_front(std::min(start, name.size())).drop_back(suffix.size()).str();
  return joined + suffix.str();
}

/// Declares the concatenation of the weights along dim 0 and erases them.
static WeightOp concatenate(ArrayRef<WeightOp> weights, SymbolTable &symbols) {
  WeightOp first = weights.front();
  auto type = cast<RankedTensorType>(first.getType());
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<Attribute> sources, transforms(getLeadingTransforms(first));
  SmallVector<StringRef> names;
  SmallVector<Location> locs;
  shape[0] = 0;
  for (WeightOp weight : weights) {
    shape[0] += cast<RankedTensorType>(weight.getType()).getDimSize(0);
    llvm::append_range(sources, weight.getSources());
    names.push_back(weight.getSymName());
    locs.push_back(weight.getLoc());
  }
  OpBuilder builder(first);
  transforms.push_back(ConcatAttr::get(builder.getContext()));
  auto joined = WeightOp::create(builder, getCommonModelLocation(locs, first.getLoc()),
                                 builder.getStringAttr(joinNames(names)),
                                 TypeAttr::get(RankedTensorType::get(shape, type.getElementType())),
                                 builder.getArrayAttr(sources), builder.getArrayAttr(transforms),
                                 first.getFormatAttr(), first.getLayoutAttr());
  symbols.insert(joined);
  return joined;
}

static Value createUse(OpBuilder &builder, WeightOp weight) {
  return WeightRefOp::create(builder, weight.getLoc(), weight.getStoredType(),
                             FlatSymbolRefAttr::get(weight.getSymNameAttr()));
}

static RankedTensorType withColumns(Value like, int64_t columns) {
  auto type = cast<RankedTensorType>(like.getType());
  return RankedTensorType::get({type.getDimSize(0), columns}, type.getElementType(),
                               type.getEncoding());
}

static void merge(MutableArrayRef<Candidate> group, SymbolTable &symbols) {
  SmallVector<WeightOp> weights, biases;
  SmallVector<Location> locs;
  for (Candidate &candidate : group) {
    weights.push_back(candidate.weight);
    if (candidate.bias)
      biases.push_back(candidate.bias);
    locs.push_back(candidate.matmul.getLoc());
  }
  MatmulOp first = group.front().matmul;
  OpBuilder builder(first);
  Location loc = getCommonModelLocation(locs, first.getLoc());
  WeightOp weight = concatenate(weights, symbols);
  int64_t columns = cast<RankedTensorType>(weight.getType()).getDimSize(0);
  Value result = MatmulOp::create(builder, loc, withColumns(first.getResult(), columns),
                                  first.getInput(), createUse(builder, weight));
  if (!biases.empty())
    result = AddOp::create(builder, loc, result.getType(), result,
                           createUse(builder, concatenate(biases, symbols)));

  int64_t offset = 0;
  for (Candidate &candidate : group) {
    auto type = cast<RankedTensorType>(candidate.getResult().getType());
    int64_t size = type.getDimSize(1);
    Value slice =
        SliceOp::create(builder, candidate.matmul.getLoc(), type, result,
                        builder.getI64IntegerAttr(offset), builder.getI64IntegerAttr(size));
    candidate.getResult().replaceAllUsesWith(slice);
    offset += size;
  }
  for (Candidate &candidate : group) {
    Operation *uses[] = {candidate.matmul.getWeight().getDefiningOp(),
                         candidate.biasAdd ? candidate.biasAdd.getRhs().getDefiningOp() : nullptr};
    if (candidate.biasAdd)
      candidate.biasAdd.erase();
    candidate.matmul.erase();
    for (Operation *use : uses)
      if (use)
        use->erase();
    symbols.erase(candidate.weight);
    if (candidate.bias)
      symbols.erase(candidate.bias);
  }
}

static bool canMerge(const Candidate &left, const Candidate &right) {
  auto leftMatmul = MatmulOp(left.matmul), rightMatmul = MatmulOp(right.matmul);
  return leftMatmul.getResult().getType().getElementType() ==
             rightMatmul.getResult().getType().getElementType() &&
         canConcatenate(left.weight, right.weight) && !left.bias == !right.bias &&
         (!left.bias || canConcatenate(left.bias, right.bias));
}

static void fuseHorizontally(FuncOp func, SymbolTable &symbols,
                             const llvm::StringMap<unsigned> &useCounts) {
  llvm::MapVector<Value, SmallVector<Candidate>> byInput;
  for (auto matmul : func.getBody().getOps<MatmulOp>()) {
    Candidate candidate{matmul, getOwnWeight(matmul.getWeight(), symbols, useCounts), {}, {}};
    if (!candidate.weight || llvm::any_of(matmul->getUsers(), llvm::IsaPred<ComputeOp>))
      continue;
    if (matmul->hasOneUse())
      if (auto add = dyn_cast<AddOp>(*matmul->user_begin()); add && add.getLhs() == matmul)
        if (WeightOp bias = getOwnWeight(add.getRhs(), symbols, useCounts);
            bias && cast<RankedTensorType>(bias.getType()).getRank() == 1) {
          candidate.biasAdd = add;
          candidate.bias = bias;
        }
    byInput[matmul.getInput()].push_back(candidate);
  }
  for (auto &[input, candidates] : byInput) {
    dropMeeting(candidates);
    while (!candidates.empty()) {
      SmallVector<Candidate> group, rest;
      for (Candidate &candidate : candidates)
        (canMerge(candidates.front(), candidate) ? group : rest).push_back(candidate);
      if (group.size() > 1)
        merge(group, symbols);
      candidates.assign(rest);
    }
  }
}

namespace {
struct FuseHorizontalMatmuls : kiln::impl::FuseHorizontalMatmulsBase<FuseHorizontalMatmuls> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    llvm::StringMap<unsigned> useCounts;
    getOperation().walk([&](WeightRefOp use) { ++useCounts[use.getWeight()]; });
    for (auto func : llvm::make_early_inc_range(getOperation().getOps<FuncOp>()))
      fuseHorizontally(func, symbols, useCounts);
  }
};
} // namespace
