// Emits an affine expression in postfix order. Of a commutative operation the operand that needs
// the deeper stack comes first, so that sums of any length need little of it; the format allows 16
// values on the stack and 256 operations.
#include "compiler/artifact/ExprFromAffine.h"
#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace kiln;
using namespace mlir;

static constexpr unsigned kMaxDepth = 16, kMaxLength = 256;

namespace {

struct Postfix {
  schema::ExprT code;
  unsigned depth = 0;

  static Postfix leaf(schema::ExprOp op, int64_t argument) {
    Postfix leaf;
    leaf.code.code = {op};
    leaf.code.args = {argument};
    leaf.depth = 1;
    return leaf;
  }

  void apply(schema::ExprOp op, Postfix right) {
    bool commutes = op != schema::ExprOp_ceil_div && op != schema::ExprOp_floor_div;
    if (commutes && right.depth > depth)
      std::swap(*this, right);
    depth = std::max(depth, right.depth + 1);
    code.code.insert(code.code.end(), right.code.code.begin(), right.code.code.end());
    code.args.insert(code.args.end(), right.code.args.begin(), right.code.args.end());
    code.code.push_back(op);
    code.args.push_back(0);
  }
};

} // namespace

static llvm::Error fail(llvm::StringRef reason, AffineExpr expr) {
  std::string text;
  llvm::raw_string_ostream(text) << "the expression " << expr << " " << reason;
  return llvm::createStringError(text);
}

/// Sub-expressions nested deeper than any sound one are refused before they exhaust the stack.
static llvm::Expected<Postfix> emit(AffineExpr expr, unsigned dimCount, unsigned nesting = 0) {
  if (nesting > kMaxLength)
    return fail("is nested too deeply", expr);
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return Postfix::leaf(schema::ExprOp_constant, constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    if (symbol.getPosition() >= dimCount)
      return fail("names a dim that the function does not have", expr);
    return Postfix::leaf(schema::ExprOp_dim, symbol.getPosition());
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return fail("uses an affine dim; dims of a function are symbols", expr);
  auto left = emit(binary.getLHS(), dimCount, nesting + 1);
  if (!left)
    return left.takeError();
  auto right = emit(binary.getRHS(), dimCount, nesting + 1);
  if (!right)
    return right.takeError();
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    left->apply(schema::ExprOp_add, std::move(*right));
    break;
  case AffineExprKind::Mul:
    left->apply(schema::ExprOp_mul, std::move(*right));
    break;
  case AffineExprKind::FloorDiv:
    left->apply(schema::ExprOp_floor_div, std::move(*right));
    break;
  case AffineExprKind::CeilDiv:
    left->apply(schema::ExprOp_ceil_div, std::move(*right));
    break;
  case AffineExprKind::Mod: { // a mod b = a + (a floordiv b) * -b
    Postfix multiple = *left, negative = *right;
    multiple.apply(schema::ExprOp_floor_div, std::move(*right));
    negative.apply(schema::ExprOp_mul, Postfix::leaf(schema::ExprOp_constant, -1));
    multiple.apply(schema::ExprOp_mul, std::move(negative));
    left->apply(schema::ExprOp_add, std::move(multiple));
    break;
  }
  default:
    return fail("has an operation that the artifact has not", expr);
  }
  if (left->depth > kMaxDepth || left->code.code.size() > kMaxLength)
    return fail("is longer than the artifact allows", expr);
  return left;
}

llvm::Expected<std::unique_ptr<schema::ExprT>> kiln::exprFromAffine(AffineExpr expr,
                                                                    unsigned dimCount) {
  bool isKnown = true; // else simplifying would take the symbol for something else
  expr.walk([&](AffineExpr part) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
      isKnown &= symbol.getPosition() < dimCount;
  });
  if (!isKnown)
    return fail("names a dim that the function does not have", expr);
  auto postfix = emit(simplifyAffineExpr(expr, 0, dimCount), dimCount);
  if (!postfix)
    return postfix.takeError();
  return std::make_unique<schema::ExprT>(std::move(postfix->code));
}

llvm::Expected<std::unique_ptr<schema::ExprT>> kiln::exprFromAffine(AffineMap map) {
  if (!map || map.getNumDims() != 0 || map.getNumResults() == 0)
    return llvm::createStringError("expected a map ()[dims...] -> (expressions)");
  llvm::SmallSetVector<AffineExpr, 8> results;
  for (AffineExpr result : map.getResults())
    results.insert(simplifyAffineExpr(result, 0, map.getNumSymbols()));
  Postfix largest;
  for (AffineExpr result : results) {
    auto postfix = emit(result, map.getNumSymbols());
    if (!postfix)
      return postfix.takeError();
    if (largest.depth == 0)
      largest = std::move(*postfix);
    else
      largest.apply(schema::ExprOp_max, std::move(*postfix));
  }
  if (largest.depth > kMaxDepth || largest.code.code.size() > kMaxLength)
    return llvm::createStringError(
        llvm::formatv("the maximum of {0} expressions takes {1} operations, more than the {2} that "
                      "the artifact allows",
                      results.size(), largest.code.code.size(), kMaxLength)
            .str());
  return std::make_unique<schema::ExprT>(std::move(largest.code));
}

std::unique_ptr<schema::ExprT> kiln::constantExpr(int64_t value) {
  return std::make_unique<schema::ExprT>(Postfix::leaf(schema::ExprOp_constant, value).code);
}
