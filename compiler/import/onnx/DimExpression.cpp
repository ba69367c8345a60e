// The dim_param of an ONNX dim is a name, but exporters also write sums and products of other dims
// there. Such a size follows from those dims; read by recursive descent, the usual precedence.
#include "compiler/import/onnx/DimExpression.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace kiln;

namespace {

class Parser {
public:
  Parser(StringRef text, MLIRContext *context, llvm::function_ref<AffineExpr(StringRef)> find)
      : rest(text), context(context), find(find) {}

  AffineExpr parse() {
    AffineExpr value = sum(0);
    rest = rest.ltrim();
    return value && rest.empty() && operators ? value : AffineExpr();
  }

private:
  static constexpr unsigned kDeepest = 16, kMostOperators = 32;
  static constexpr int64_t kLargest = int64_t(1) << 31;

  bool take(StringRef token) {
    rest = rest.ltrim();
    if (!rest.consume_front(token))
      return false;
    ++operators;
    return true;
  }

  AffineExpr sum(unsigned depth) {
    AffineExpr value = product(depth);
    while (value && operators < kMostOperators) {
      bool plus = take("+");
      if (!plus && !take("-"))
        break;
      AffineExpr other = product(depth);
      value = !other ? other : plus ? value + other : value - other;
    }
    return value;
  }

  AffineExpr product(unsigned depth) {
    AffineExpr value = operand(depth);
    while (value && operators < kMostOperators) {
      if (take("//")) {
        auto divisor = dyn_cast_or_null<AffineConstantExpr>(operand(depth));
        value = divisor && divisor.getValue() > 0 ? value.floorDiv(divisor) : AffineExpr();
      } else if (take("*")) {
        AffineExpr other = operand(depth);
        value = other ? value * other : other;
      } else {
        break;
      }
    }
    return value;
  }

  AffineExpr operand(unsigned depth) {
    rest = rest.ltrim();
    if (depth < kDeepest && rest.consume_front("(")) {
      AffineExpr value = sum(depth + 1);
      rest = rest.ltrim();
      return value && rest.consume_front(")") ? value : AffineExpr();
    }
    StringRef word =
        rest.take_while([](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; });
    rest = rest.drop_front(word.size());
    int64_t number;
    if (!word.empty() && llvm::isDigit(word[0]))
      return !word.getAsInteger(10, number) && number <= kLargest
                 ? getAffineConstantExpr(number, context)
                 : AffineExpr();
    return word.empty() ? AffineExpr() : find(word);
  }

  StringRef rest;
  MLIRContext *context;
  llvm::function_ref<AffineExpr(StringRef)> find;
  unsigned operators = 0;
};

} // namespace

AffineExpr kiln::parseDimExpression(StringRef text, MLIRContext *context,
                                    llvm::function_ref<AffineExpr(StringRef)> find) {
  return Parser(text, context, find).parse();
}
