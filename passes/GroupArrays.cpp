// Decides which array ops (`graph.compute`) share a region, by their records: an op whose elements
// are cheap, or needed once, is computed where its consumers read it; each other one is a region of
// its own. Maps that follow a product on vectors along the last dim are computed in its kernel.
#include "passes/Grouping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Whether an array op follows a contraction on its rows: element by element, beside it constants
/// of one value, vectors of a value for each column, and matrices of the same shape.
bool Grouping::joinsProduct(unsigned op) const {
  auto map = dyn_cast<ComputeOp>(ops[op]);
  if (!map || !operatorOf(map).map)
    return false;
  auto isF32 = [](RankedTensorType type) { return type.getElementType().isF32(); };
  RankedTensorType type = tensorOf(map.getResult(0));
  if (type.getRank() != 2 || !isF32(type) || type.isDynamicDim(1) || type.getDimSize(1) < 2)
    return false;
  bool follows = false;
  for (Value operand : map.getOperands()) {
    RankedTensorType own = tensorOf(operand);
    if (!isF32(own))
      return false;
    if (auto constant = operand.getDefiningOp<ConstantOp>()) {
      if (!isa<SplatElementsAttr>(constant.getValue()))
        return false;
      continue;
    }
    StoredAttr stored = getStored(own);
    bool isVector = own.getRank() == 1 && own.getDimSize(0) == type.getDimSize(1) &&
                    (stored ? stored.getFormat() == "f32" : type.getDimSize(1) % 16 == 0);
    if (own != type && !isVector)
      return false;
    int from = producer(operand);
    if (own != type || from < 0 || groups[groupOf[from]].kind != GroupKind::Contraction)
      continue;
    // Constant rows are left to the reference, which takes products alone.
    RankedTensorType rows = cast<RankedTensorType>(groups[groupOf[from]].input.getType());
    if (getStored(rows) || rows.isDynamicDim(1))
      return false;
    follows = true;
  }
  return follows;
}

/// Ops that a kernel may compute, more or less: code grows with them, and registers are few.
static constexpr unsigned kMaxArrayOps = 48;

/// Whether a tensor has at most as many elements as another, for all dims.
static bool hasNoMoreElements(RankedTensorType left, RankedTensorType right) {
  auto count = [](RankedTensorType type, uint64_t &fixed, SmallVectorImpl<Attribute> &names) {
    fixed = 1;
    for (int64_t extent : type.getShape())
      if (!ShapedType::isDynamic(extent))
        fixed = llvm::SaturatingMultiply<uint64_t>(fixed, uint64_t(extent));
    if (DimsAttr dims = getDims(type))
      llvm::append_range(names, dims.getSymbols());
    llvm::sort(names, [](Attribute a, Attribute b) {
      return cast<FlatSymbolRefAttr>(a).getValue() < cast<FlatSymbolRefAttr>(b).getValue();
    });
  };
  uint64_t leftFixed, rightFixed;
  SmallVector<Attribute> leftNames, rightNames;
  count(left, leftFixed, leftNames);
  count(right, rightFixed, rightNames);
  return leftFixed <= rightFixed && leftNames == rightNames;
}

/// Whether an array op's elements may be computed where another array op reads them.
static bool mayCompute(ComputeOp producer, ComputeOp consumer) {
  const Operator &from = operatorOf(producer), &to = operatorOf(consumer);
  if (from.cost == Cost::Fill || to.cost == Cost::Fill || to.cost == Cost::Many)
    return false;
  if (from.cost == Cost::Index || from.recomputed)
    return true;
  // What is computed in several places must not draw in what it is computed from.
  if (to.recomputed && !consumer->hasOneUse())
    return false;
  bool isRead =
      to.cost == Cost::Once || to.cost == Cost::Index
          ? !to.repeats
          : hasNoMoreElements(tensorOf(consumer.getResult(0)), tensorOf(producer.getResult(0)));
  bool isCheap = from.cost == Cost::Map || to.cost != Cost::Once;
  return isRead && isCheap && producer->hasOneUse() && producer->getNumResults() == 1;
}

/// Whether an op is a product of codes: its sums are i32.
static bool isOfCodes(Operation *op) {
  auto product = dyn_cast<ComputeOp>(op);
  return product && product.getKind() == "conv" &&
         tensorOf(product.getOperand(1)).getElementType().isInteger(8);
}

/// Whether a map operator may follow a product in its kernel, on vectors along the last dim: on
/// tensors of the product's shape, vectors along its last dim, and single numbers. All are f32, but
/// behind a product of codes, where sums and codes are integers.
static bool mayFollowProduct(ComputeOp op, Operation *product) {
  RankedTensorType sums = tensorOf(product->getResult(0));
  bool ofCodes = isOfCodes(product);
  auto isSame = [&](RankedTensorType type) {
    return type.getShape() == sums.getShape() && getDims(type) == getDims(sums);
  };
  auto fits = [&](RankedTensorType type) {
    Type element = type.getElementType();
    return element.isF32() || (ofCodes && (element.isInteger(8) || element.isSignlessInteger(32)));
  };
  if (!mapsVectors(op) || !isSame(tensorOf(op.getResult(0))) || !fits(tensorOf(op.getResult(0))))
    return false;
  return llvm::all_of(op.getOperands(), [&](Value operand) {
    RankedTensorType type = tensorOf(operand);
    auto isOne = [](int64_t extent) { return extent == 1; };
    bool isColumn = type.getRank() && type.getShape().back() == sums.getShape().back() &&
                    llvm::all_of(type.getShape().drop_back(), isOne);
    return fits(type) && (isSame(type) || isColumn || llvm::all_of(type.getShape(), isOne));
  });
}

/// Joins a product to the kernel of its only user where the kernel has no other yet, and map
/// operators alone follow. `products` holds, for each op in the kernel of one, that product.
bool Grouping::joinUser(unsigned product, const llvm::BitVector &inlined,
                        llvm::DenseMap<unsigned, unsigned> &products) const {
  llvm::SetVector<unsigned> kernel;
  unsigned root = product;
  do {
    if (!ops[root]->hasOneUse())
      return false;
    auto it = index.find(*ops[root]->user_begin());
    if (it == index.end() || products.contains(it->second))
      return false;
    root = it->second;
    kernel.insert(root);
  } while (inlined[root]);
  for (size_t i = 0; i < kernel.size(); ++i) {
    auto op = dyn_cast<ComputeOp>(ops[kernel[i]]);
    if (!op || !mayFollowProduct(op, ops[product]))
      return false;
    for (Value operand : op.getOperands())
      if (int from = this->producer(operand); from >= 0 && inlined[from])
        kernel.insert(from);
  }
  kernel.insert(product);
  for (unsigned op : kernel)
    products[op] = product;
  return true;
}

/// Where a product of codes cannot join the kernel that its codes are read in, for that is another
/// product's: takes what rounds its sums to codes out of there. False where nothing changes.
bool Grouping::cutBehindCodes(unsigned product, llvm::BitVector &inlined,
                              llvm::DenseMap<unsigned, unsigned> &products) const {
  if (!isOfCodes(ops[product]))
    return false;
  SmallVector<unsigned> chain;
  for (unsigned last = product; ops[last]->hasOneUse();) {
    auto it = index.find(*ops[last]->user_begin());
    if (it == index.end() || !inlined[it->second])
      return false;
    last = it->second;
    chain.push_back(last);
    if (cast<ComputeOp>(ops[last]).getKind() != "quantize")
      continue;
    inlined.reset(last);
    for (unsigned op : chain)
      products.erase(op);
    return true;
  }
  return false;
}

void Grouping::groupArrays() {
  llvm::BitVector inlined(ops.size());
  std::vector<unsigned> sizes(ops.size(), 1); // ops that computing this one takes
  for (auto [i, op] : llvm::enumerate(ops)) {
    auto consumer = dyn_cast<ComputeOp>(op);
    if (!consumer)
      continue;
    for (Value operand : op->getOperands()) {
      int from = producer(operand);
      auto array = from < 0 ? ComputeOp() : dyn_cast<ComputeOp>(ops[from]);
      if (array && mayCompute(array, consumer))
        sizes[i] += sizes[from];
    }
    sizes[i] = std::min(sizes[i], 2 * kMaxArrayOps);
  }
  llvm::DenseMap<unsigned, unsigned> products;
  // An epilogue's operands lie in memory, and what it gives is a result of its region.
  auto isEpilogue = [&](unsigned op) { return groups[groupOf[op]].kind == GroupKind::Contraction; };
  for (unsigned i = ops.size(); i-- > 0;) {
    auto array = dyn_cast<ComputeOp>(ops[i]);
    if (!array || isEpilogue(i))
      continue;
    inlined[i] = llvm::all_of(array->getUsers(), [&](Operation *user) {
      auto it = index.find(user);
      auto consumer = dyn_cast<ComputeOp>(user);
      return it != index.end() && consumer && mayCompute(array, consumer) &&
             sizes[it->second] <= kMaxArrayOps && !isEpilogue(it->second);
    });
    if (!inlined[i])
      continue;
    if (operatorOf(array).cost == Cost::Many) {
      inlined[i] = false;
      inlined[i] = joinUser(i, inlined, products) ||
                   (cutBehindCodes(i, inlined, products) && joinUser(i, inlined, products));
      continue;
    }
    for (Operation *user : array->getUsers())
      if (auto it = products.find(index.lookup(user)); it != products.end()) {
        inlined[i] = inlined[i] && (array->hasOneUse() || operatorOf(array).recomputed) &&
                     mayFollowProduct(array, ops[it->second]);
        if (inlined[i])
          products[i] = it->second;
      }
  }
  for (unsigned i = 0; i < ops.size(); ++i) {
    if (kindOf(i) != FusionKind::Array || inlined[i] || isEpilogue(i))
      continue;
    groups[i].kind = GroupKind::Array;
    SmallVector<unsigned> work{i};
    while (!work.empty())
      for (Value operand : ops[work.pop_back_val()]->getOperands())
        if (int from = producer(operand); from >= 0 && inlined[from] && !groups[i].copied[from]) {
          groups[i].copied.set(from);
          work.push_back(from);
        }
  }
}
