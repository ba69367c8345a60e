// Operators on whole matrices.
#include "ir/Graph/Operators/Scratch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Determinants of the matrices [.., n, n], by elimination with the largest pivot of a column.
static void determinant(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value x = op.getOperand(0);
  unsigned rank = tensorOf(x).getRank();
  Type element = tensorOf(x).getElementType(), wide = f.b.getF64Type();
  auto &b = f.b;
  Value size = f.extent(x, rank - 1), one = f.index(1);
  ScratchArray matrix{f, wide, f.index(0)};
  auto place = [&](Value row, Value column) { return f.add(f.mul(row, size), column); };
  f.loops({size, size}, {}, [&](ValueRange at, ValueRange) {
    SmallVector<Value> from(item);
    llvm::append_range(from, at);
    matrix.set(place(at[0], at[1]), f.convert(f.read(x, from), element, wide));
    return SmallVector<Value>();
  });
  Value zero = f.constant(wide, 0);
  Value product = f.loop(size, f.constant(wide, 1), [&](Value step, ValueRange state) {
    Value below = f.sub(size, step);
    auto sizeAt = [&](Value row) -> Value {
      return math::AbsFOp::create(b, matrix.get(place(row, step)));
    };
    SmallVector<Value> best = f.loop(below, {step, sizeAt(step)}, [&](Value i, ValueRange so) {
      Value row = f.add(step, i), candidate = sizeAt(row);
      Value more = isLess(f, wide, so[1], candidate);
      return SmallVector<Value>{f.select(more, row, so[0]), f.select(more, candidate, so[1])};
    });
    Value isSwapped = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, best[0], step);
    f.loop(below, {}, [&](Value i, ValueRange) {
      Value column = f.add(step, i);
      Value upper = matrix.get(place(step, column)), lower = matrix.get(place(best[0], column));
      matrix.set(place(best[0], column), upper);
      matrix.set(place(step, column), lower);
      return SmallVector<Value>();
    });
    Value pivot = matrix.get(place(step, step));
    Value isSingular = isEqual(f, pivot, zero);
    Value divisor = f.select(isSingular, f.constant(wide, 1), pivot);
    f.loop(f.sub(below, one), {}, [&](Value i, ValueRange) {
      Value row = f.add(f.add(step, one), i);
      Value factor = arith::DivFOp::create(b, matrix.get(place(row, step)), divisor);
      f.loop(below, {}, [&](Value j, ValueRange) {
        Value column = f.add(step, j);
        Value part = arith::MulFOp::create(b, factor, matrix.get(place(step, column)));
        Value rest = arith::SubFOp::create(b, matrix.get(place(row, column)), part);
        matrix.set(place(row, column), rest);
        return SmallVector<Value>();
      });
      return SmallVector<Value>();
    });
    Value factor = arith::MulFOp::create(b, state[0], pivot);
    Value negative = arith::NegFOp::create(b, factor);
    return SmallVector<Value>{f.select(isSwapped, negative, factor)};
  })[0];
  f.write(0, f.convert(product, wide, element), item);
}

static SmallVector<unsigned> allDims(ComputeOp op) {
  return llvm::to_vector(llvm::seq<unsigned>(0, tensorOf(op.getResult(0)).getRank()));
}

static AffineExpr matrixScratch(ComputeOp op) {
  RankedTensorType type = tensorOf(op.getOperand(0));
  AffineExpr size = extentExpr(op, type, type.getRank() - 1);
  return size * size * 8;
}

ArrayRef<Operator> graph::algebraOperators() {
  static const Operator table[] = {
      Operator{"determinant", Cost::Fill, nullptr, nullptr, determinant, allDims, matrixScratch},
  };
  return table;
}
