// Products of matrices, and sums of products in general.
//
// A product's rows are written one by one: a row of the result gathers rows of the right matrix,
// eight at a time, so that the innermost loop runs along memory and LLVM makes vectors of it. Where
// the result is narrow, or its type too narrow to gather in, each element is a sum of its own.
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Products of two matrices -----------------------------------------------------------------

/// Rows of the right matrix that one pass over a row of the result adds.
static constexpr int64_t kRowsAtOnce = 8;
/// Columns from which on a row of the result is gathered.
static constexpr int64_t kFewColumns = 8;

namespace {

/// Row `item` of x [..., m, k] times y [..., k, n]; leading dims are broadcast. Operands 2 and 3
/// are subtracted from the elements of x and y, broadcast to them. Sums have the result's type.
class RowTimesMatrix {
public:
  RowTimesMatrix(FillBuilder &f, ComputeOp op, ValueRange item)
      : f(f), op(op), item(item), a(f, elementOf(op.getResult(0))),
        depth(f.extent(op.getOperand(0), tensorOf(op.getOperand(0)).getRank() - 1)),
        columns(f.extent(op.getResult(0), tensorOf(op.getResult(0)).getRank() - 1)) {}

  void write() {
    int64_t width = tensorOf(op.getResult(0)).getShape().back();
    if (a.isNarrowFloat() || (!ShapedType::isDynamic(width) && width < kFewColumns))
      writeSums();
    else
      gatherRows();
  }

private:
  void writeSums();
  void gatherRows();
  /// An element of an operand at `indices`, aligned with the last dims, less what is subtracted.
  Value element(unsigned operand, ValueRange last) {
    Value tensor = op.getOperand(operand);
    SmallVector<Value> place = places(tensor, last);
    Value value = a.read(tensor, place);
    if (op.getNumOperands() <= operand + 2)
      return value;
    Value zero = op.getOperand(operand + 2);
    return a.sub(value, a.read(zero, broadcastIndices(f, zero, tensorOf(tensor), place)));
  }
  /// Batch dims of an operand, and after them `last`.
  SmallVector<Value> places(Value tensor, ValueRange last) {
    RankedTensorType type = tensorOf(tensor), result = tensorOf(op.getResult(0));
    SmallVector<Value> all(item.drop_back());
    llvm::append_range(all, last);
    // The last two dims are not those of the result: only the leading ones may be broadcast.
    SmallVector<Value> place;
    int64_t skipped = result.getRank() - type.getRank();
    for (int64_t dim = 0; dim + 2 < type.getRank(); ++dim) {
      Value index = all[skipped + dim];
      if (type.getDimSize(dim) == 1)
        index = f.index(0);
      else if (type.isDynamicDim(dim))
        index = f.min(index, f.sub(f.extent(tensor, dim), f.index(1)));
      place.push_back(index);
    }
    llvm::append_range(place, last);
    return place;
  }
  SmallVector<Value> target(Value column) {
    SmallVector<Value> place(item);
    place.push_back(column);
    return place;
  }
  /// Adds the products with rows first .. first + count - 1 to the row of the result.
  void addRows(Value first, int64_t count) {
    SmallVector<Value> rows, factors;
    for (int64_t i = 0; i < count; ++i) {
      rows.push_back(i ? f.add(first, f.index(i)) : first);
      factors.push_back(element(0, {item.back(), rows.back()}));
    }
    f.loop(columns, {}, [&](Value column, ValueRange) {
      Value sum = f.readBack(0, target(column));
      for (auto [row, factor] : llvm::zip_equal(rows, factors))
        sum = a.multiplyAdd(factor, element(1, {row, column}), sum);
      f.write(0, sum, target(column));
      return SmallVector<Value>();
    });
  }

  FillBuilder &f;
  ComputeOp op;
  ValueRange item;
  Arithmetic a;
  Value depth, columns;
};

} // namespace

void RowTimesMatrix::writeSums() {
  f.loop(columns, {}, [&](Value column, ValueRange) {
    Value sum = f.loop(depth, a.constant(0), [&](Value k, ValueRange state) {
      return SmallVector<Value>{
          a.addProduct(state[0], element(0, {item.back(), k}), element(1, {k, column}))};
    })[0];
    f.write(0, sum, target(column));
    return SmallVector<Value>();
  });
}

void RowTimesMatrix::gatherRows() {
  f.loop(columns, {}, [&](Value column, ValueRange) {
    f.write(0, a.constant(0), target(column));
    return SmallVector<Value>();
  });
  Value step = f.index(kRowsAtOnce);
  Value blocks = arith::DivUIOp::create(f.b, depth, step);
  f.loop(blocks, {}, [&](Value block, ValueRange) {
    addRows(f.mul(block, step), kRowsAtOnce);
    return SmallVector<Value>();
  });
  Value done = f.mul(blocks, step);
  f.loop(f.sub(depth, done), {}, [&](Value rest, ValueRange) {
    addRows(f.add(done, rest), 1);
    return SmallVector<Value>();
  });
}

static void fillMatmul(FillBuilder &f, ComputeOp op, ValueRange item) {
  RowTimesMatrix(f, op, item).write();
}

static SmallVector<unsigned> rowsOf(ComputeOp op) {
  return llvm::to_vector(llvm::seq<unsigned>(0, tensorOf(op.getResult(0)).getRank() - 1));
}

static LogicalResult verifyMatmul(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 4)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0)), y = tensorOf(op.getOperand(1)),
                   result = tensorOf(op.getResult(0));
  int64_t rank = result.getRank();
  if (x.getRank() < 2 || y.getRank() < 2 || rank != std::max(x.getRank(), y.getRank()))
    return op.emitOpError() << "multiplies matrices, found " << x << " and " << y << " to "
                            << result;
  auto differ = [](int64_t left, int64_t right) {
    return !ShapedType::isDynamic(left) && !ShapedType::isDynamic(right) && left != right;
  };
  ArrayRef<int64_t> left = x.getShape(), right = y.getShape(), to = result.getShape();
  if (differ(left.back(), right[right.size() - 2]) || differ(left[left.size() - 2], to[rank - 2]) ||
      differ(right.back(), to.back()))
    return op.emitOpError() << "operands " << x << " and " << y << " do not give " << result;
  return success();
}

// ---- Sums of products -------------------------------------------------------------------------

static ArrayRef<int64_t> labelsOf(ComputeOp op, unsigned operand) {
  return cast<DenseI64ArrayAttr>(op.getParams().getAs<ArrayAttr>("labels")[operand]).asArrayRef();
}

/// Einstein's sum: a label numbers a loop; `labels` says which loop runs along each dim of each
/// operand, loops 0 .. r - 1 being the dims of the result and the others sums. A dim of extent 1 is
/// broadcast.
static Value sumOfProducts(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Arithmetic a(e, elementOf(op.getResult(0)));
  SmallVector<Value> counts; // of the loops after the result's
  for (auto [number, operand] : llvm::enumerate(op.getOperands()))
    for (auto [dim, label] : llvm::enumerate(labelsOf(op, number))) {
      size_t place = size_t(label);
      if (place < indices.size())
        continue;
      place -= indices.size();
      counts.resize(std::max(counts.size(), place + 1));
      if (!counts[place] || tensorOf(operand).getDimSize(dim) != 1)
        counts[place] = e.extent(operand, dim);
    }
  return e.loops(counts, a.constant(0), [&](ValueRange inner, ValueRange state) {
    SmallVector<Value> all(indices);
    llvm::append_range(all, inner);
    Value product;
    for (auto [number, operand] : llvm::enumerate(op.getOperands())) {
      SmallVector<Value> place;
      for (auto [dim, label] : llvm::enumerate(labelsOf(op, number))) {
        RankedTensorType type = tensorOf(operand);
        Value index = all[label];
        if (type.getDimSize(dim) == 1)
          index = e.index(0);
        place.push_back(index);
      }
      Value element = a.read(operand, place);
      if (number + 1 == op.getNumOperands())
        return SmallVector<Value>{product ? a.addProduct(state[0], product, element)
                                          : a.addTerm(state[0], element)};
      product = product ? a.mul(product, element) : element;
    }
    llvm_unreachable("there is an operand");
  })[0];
}

static LogicalResult verifySumOfProducts(ComputeOp op) {
  auto labels = op.getParams().getAs<ArrayAttr>("labels");
  if (op.getNumOperands() == 0 || !labels || labels.size() != op.getNumOperands())
    return op.emitOpError() << "needs 'labels' of each operand";
  int64_t most = 0;
  llvm::SmallDenseSet<int64_t> seen;
  for (auto [operand, attribute] : llvm::zip_equal(op.getOperands(), labels)) {
    auto list = dyn_cast<DenseI64ArrayAttr>(attribute);
    if (!list || list.size() != tensorOf(operand).getRank())
      return op.emitOpError() << "needs a label for each dim of each operand";
    for (int64_t label : list.asArrayRef()) {
      if (label < 0 || label > 64)
        return op.emitOpError() << "label " << label << " is not in 0 .. 64";
      most = std::max(most, label);
      seen.insert(label);
    }
  }
  for (int64_t label = tensorOf(op.getResult(0)).getRank(); label <= most; ++label)
    if (!seen.contains(label))
      return op.emitOpError() << "label " << label << " is at no operand";
  return success();
}

ArrayRef<Operator> graph::productOperators() {
  static const Operator table[] = {
      Operator{"matmul", Cost::Fill, nullptr, nullptr, fillMatmul, rowsOf, nullptr, false, false,
               verifyMatmul},
      Operator{"einsum", Cost::Many, nullptr, sumOfProducts, nullptr, nullptr, nullptr, false,
               false, verifySumOfProducts},
  };
  return table;
}
