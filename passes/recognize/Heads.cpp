// Exporters bring queries, keys and values into the order [batch, heads, rows, depth] by reshapes
// and transposes of what products give, [batch, rows, heads, depth]. Which dim is which is followed
// back through them here, so that attention reads what lies in memory.
#include "passes/recognize/Heads.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

Heads Heads::of(Value value) {
  int64_t lead = 4 - tensorOf(value).getRank();
  Heads heads{value, {}};
  for (int64_t dim = 0; dim < 4; ++dim)
    heads.dims[dim] = dim < lead ? -1 : dim - lead;
  return heads;
}

bool Heads::peelScale(ComputeOp op) {
  auto scaled = scaledOf(op);
  if (!scaled)
    return false;
  scale *= scaled->second;
  value = scaled->first;
  return true;
}

/// A reshape that puts in or takes out dims of one element.
bool Heads::peelReshape(ComputeOp op) {
  RankedTensorType to = tensorOf(value), from = tensorOf(op.getOperand(0));
  SmallVector<FlatSymbolRefAttr> names = dimNames(to), sources = dimNames(from);
  SmallVector<int64_t> match(to.getRank(), -1);
  int64_t source = 0;
  auto skipOnes = [&] {
    while (source < from.getRank() && from.getDimSize(source) == 1)
      ++source;
  };
  for (int64_t dim = 0; dim < to.getRank(); ++dim) {
    if (to.getDimSize(dim) == 1)
      continue;
    skipOnes();
    if (source == from.getRank() || from.getDimSize(source) != to.getDimSize(dim) ||
        sources[source] != names[dim])
      return false;
    match[dim] = source++;
  }
  skipOnes();
  if (source != from.getRank() || getStored(from))
    return false;
  for (int64_t &dim : dims)
    dim = dim < 0 ? -1 : match[dim];
  value = op.getOperand(0);
  return true;
}

/// Whether two types have the same `count` dims from places `first` and `second` on.
static bool sameDims(RankedTensorType left, int64_t first, RankedTensorType right, int64_t second,
                     int64_t count) {
  SmallVector<FlatSymbolRefAttr> names = dimNames(left), others = dimNames(right);
  for (int64_t i = 0; i < count; ++i)
    if (left.getDimSize(first + i) != right.getDimSize(second + i) ||
        names[first + i] != others[second + i])
      return false;
  return true;
}

/// A transpose of the last dims with the leading ones merged before and split again after it.
bool Heads::peelMerged(ComputeOp op) {
  ComputeOp transpose = definedBy(op.getOperand(0), "transpose");
  ComputeOp merge = transpose ? definedBy(transpose.getOperand(0), "reshape") : ComputeOp();
  if (!merge)
    return false;
  RankedTensorType from = tensorOf(merge.getOperand(0)), merged = tensorOf(merge.getResult(0)),
                   moved = tensorOf(transpose.getResult(0)), to = tensorOf(value);
  ArrayRef<int64_t> perm = intsParam(transpose, "perm");
  int64_t inner = merged.getRank() - 1, lead = from.getRank() - inner;
  if (inner < 1 || lead < 2 || perm[0] != 0 || to.getRank() != from.getRank() ||
      !sameDims(from, 0, to, 0, lead) || !sameDims(from, lead, merged, 1, inner) ||
      !sameDims(to, lead, moved, 1, inner))
    return false;
  for (int64_t &dim : dims)
    dim = dim < lead ? dim : perm[dim - lead + 1] - 1 + lead;
  value = merge.getOperand(0);
  return true;
}

/// Heads that are each repeated for several query heads: a dim of one element behind them that is
/// broadcast and joined with them.
bool Heads::peelRepeat(ComputeOp op) {
  ComputeOp broadcast = definedBy(op.getOperand(0), "broadcast");
  if (!broadcast)
    return false;
  Value inner = broadcast.getOperand(0);
  RankedTensorType joined = tensorOf(value), wide = tensorOf(broadcast.getResult(0)),
                   narrow = tensorOf(inner);
  int64_t heads = dims[1];
  if (heads < 0 || wide.getRank() != joined.getRank() + 1 || narrow.getRank() != wide.getRank() ||
      narrow.getDimSize(heads + 1) != 1 || wide.isDynamicDim(heads) ||
      wide.isDynamicDim(heads + 1) ||
      wide.getDimSize(heads) * wide.getDimSize(heads + 1) != joined.getDimSize(heads))
    return false;
  SmallVector<FlatSymbolRefAttr> own = dimNames(joined), before = dimNames(narrow);
  for (int64_t dim = 0; dim < joined.getRank(); ++dim) {
    int64_t from = dim > heads ? dim + 1 : dim;
    bool isSame = dim == heads ? narrow.getDimSize(from) == wide.getDimSize(from)
                               : narrow.getDimSize(from) == joined.getDimSize(dim) &&
                                     before[from] == own[dim];
    if (!isSame)
      return false;
  }
  for (int64_t &dim : dims)
    dim += dim > heads;
  value = inner;
  return true;
}

bool Heads::peelOne(Also also) {
  auto op = value.getDefiningOp<ComputeOp>();
  if (!op)
    return false;
  if (also.scale && peelScale(op))
    return true;
  if (op.getKind() == "transpose") {
    for (int64_t &dim : dims)
      dim = dim < 0 ? -1 : intsParam(op, "perm")[dim];
    value = op.getOperand(0);
    return true;
  }
  return op.getKind() == "reshape" &&
         (peelReshape(op) || peelMerged(op) || (also.repeats && peelRepeat(op)));
}

void Heads::peel(Also also) {
  while (peelOne(also))
    ;
}

/// Whether the dims lie in memory in that order.
bool Heads::isInOrder(ArrayRef<int64_t> order) const {
  int64_t last = -1;
  for (int64_t dim : order) {
    if (extent(dim) == 1)
      continue;
    if (dims[dim] < last)
      return false;
    last = dims[dim];
  }
  return true;
}

Value Heads::make(PatternRewriter &b, Location loc, bool headsFirst) const {
  std::array<int64_t, 4> order = memoryOrder(headsFirst);
  Value source = value;
  if (!isInOrder(order)) { // bring the dims into order; those of one element follow
    SmallVector<int64_t> perm;
    for (int64_t dim : order)
      if (dims[dim] >= 0)
        perm.push_back(dims[dim]);
    for (int64_t dim = 0; dim < tensorOf(value).getRank(); ++dim)
      if (!llvm::is_contained(perm, dim))
        perm.push_back(dim);
    source = makeTranspose(b, loc, value, perm);
  }
  SmallVector<int64_t> shape;
  SmallVector<FlatSymbolRefAttr> names;
  for (int64_t dim : order) {
    shape.push_back(extent(dim));
    names.push_back(name(dim));
  }
  return makeReshape(b, loc, source, shape, names);
}
