// Arithmetic of one element type, by the type: floats, signed and unsigned integers, truth values.
#include "ir/Graph/Operators/Arithmetic.h"
#include <limits>

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static constexpr auto kAnyOrder = arith::FastMathFlags::reassoc;
static constexpr auto kFused = arith::FastMathFlags::contract;

Value Arithmetic::least() const {
  if (isFloat())
    return e.constant(code, -std::numeric_limits<double>::infinity());
  return isUnsigned() ? e.integer(type, 0)
                      : e.integer(type, llvm::minIntN(code.getIntOrFloatBitWidth()));
}

Value Arithmetic::greatest() const {
  if (isFloat())
    return e.constant(code, std::numeric_limits<double>::infinity());
  return isUnsigned() ? e.integer(type, -1)
                      : e.integer(type, llvm::maxIntN(code.getIntOrFloatBitWidth()));
}

Value Arithmetic::add(Value x, Value y) const {
  return isFloat() ? arith::AddFOp::create(b, x, y).getResult() : e.add(x, y);
}
Value Arithmetic::sub(Value x, Value y) const {
  return isFloat() ? arith::SubFOp::create(b, x, y).getResult() : e.sub(x, y);
}
Value Arithmetic::mul(Value x, Value y) const {
  return isFloat() ? arith::MulFOp::create(b, x, y).getResult() : e.mul(x, y);
}

Value Arithmetic::div(Value x, Value y) const {
  if (isFloat())
    return arith::DivFOp::create(b, x, y);
  Value safe = e.select(e.equal(y, e.integer(type, 0)), e.integer(type, 1), y);
  if (isUnsigned())
    return arith::DivUIOp::create(b, x, safe);
  Value negative = e.sub(e.integer(type, 0), x), minusOne = e.integer(type, -1);
  Value opposite = e.equal(y, minusOne); // the least number has no opposite: do not trap on it
  Value quotient = arith::DivSIOp::create(b, x, e.select(opposite, e.integer(type, 1), safe));
  return e.select(opposite, negative, quotient);
}

Value Arithmetic::min(Value x, Value y) const {
  if (isFloat())
    return arith::MinimumFOp::create(b, x, y);
  return isUnsigned() ? arith::MinUIOp::create(b, x, y).getResult() : e.min(x, y);
}
Value Arithmetic::max(Value x, Value y) const {
  if (isFloat())
    return arith::MaximumFOp::create(b, x, y);
  return isUnsigned() ? arith::MaxUIOp::create(b, x, y).getResult() : e.max(x, y);
}

Value Arithmetic::abs(Value x) const {
  if (isFloat())
    return math::AbsFOp::create(b, x);
  return isUnsigned() ? x : math::AbsIOp::create(b, x).getResult();
}

Value Arithmetic::less(Value x, Value y) const {
  if (isFloat())
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y);
  return arith::CmpIOp::create(
      b, isUnsigned() ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt, x, y);
}

Value Arithmetic::addTerm(Value sum, Value x) const {
  return isFloat() ? arith::AddFOp::create(b, sum, x, kAnyOrder).getResult() : e.add(sum, x);
}
Value Arithmetic::addProduct(Value sum, Value x, Value y) const {
  if (!isFloat())
    return e.add(sum, e.mul(x, y));
  return arith::AddFOp::create(b, sum, arith::MulFOp::create(b, x, y, kFused), kAnyOrder | kFused);
}
Value Arithmetic::mulFactor(Value product, Value x) const {
  return isFloat() ? arith::MulFOp::create(b, product, x, kAnyOrder).getResult()
                   : e.mul(product, x);
}
Value Arithmetic::multiplyAdd(Value x, Value y, Value sum) const {
  if (!isFloat())
    return e.add(sum, e.mul(x, y));
  return arith::AddFOp::create(b, sum, arith::MulFOp::create(b, x, y, kFused), kFused);
}

LogicalResult graph::verifyInts(ComputeOp op, StringRef name, size_t count, int64_t least) {
  auto attribute = op.getParams().getAs<DenseI64ArrayAttr>(name);
  if (!attribute || attribute.size() != int64_t(count) ||
      llvm::any_of(attribute.asArrayRef(), [&](int64_t value) { return value < least; }))
    return op.emitOpError() << "needs '" << name << "': " << count << " integers from " << least
                            << " on";
  return success();
}

LogicalResult graph::verifyInt(ComputeOp op, StringRef name, int64_t least, int64_t most) {
  auto attribute = op.getParams().getAs<IntegerAttr>(name);
  if (!attribute || attribute.getInt() < least || attribute.getInt() > most)
    return op.emitOpError() << "needs '" << name << "', an integer from " << least << " to "
                            << most;
  return success();
}

LogicalResult graph::verifyFloat(ComputeOp op, StringRef name) {
  if (!op.getParams().getAs<FloatAttr>(name))
    return op.emitOpError() << "needs '" << name << "', a number";
  return success();
}

LogicalResult graph::verifyText(ComputeOp op, StringRef name, ArrayRef<StringRef> choices) {
  auto attribute = op.getParams().getAs<StringAttr>(name);
  if (!attribute || !llvm::is_contained(choices, attribute.getValue()))
    return op.emitOpError() << "needs '" << name << "', one of " << llvm::join(choices, ", ");
  return success();
}

LogicalResult graph::verifyCounts(ComputeOp op, unsigned leastOperands, unsigned mostOperands,
                                  unsigned mostResults) {
  if (op.getNumOperands() < leastOperands || op.getNumOperands() > mostOperands)
    return op.emitOpError() << "takes " << leastOperands << " to " << mostOperands
                            << " operands, found " << op.getNumOperands();
  if (op.getNumResults() > mostResults)
    return op.emitOpError() << "has " << mostResults << " results at most, found "
                            << op.getNumResults();
  return success();
}
