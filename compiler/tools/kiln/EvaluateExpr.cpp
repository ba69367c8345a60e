// Evaluates the postfix programs that sizes in an artifact are written as
// (runtime/schema/program.fbs).
#include "compiler/tools/kiln/EvaluateExpr.h"
#include <algorithm>

using namespace kiln;

int64_t kiln::evaluateExpr(const schema::Expr &expr, const std::vector<int64_t> &dims) {
  std::vector<int64_t> stack;
  for (flatbuffers::uoffset_t i = 0; i < expr.code()->size(); ++i) {
    int64_t argument = expr.args()->Get(i);
    schema::ExprOp op = schema::ExprOp(expr.code()->Get(i));
    if (op == schema::ExprOp_constant || op == schema::ExprOp_dim) {
      stack.push_back(op == schema::ExprOp_constant ? argument : dims[size_t(argument)]);
      continue;
    }
    int64_t right = stack.back();
    stack.pop_back();
    int64_t &left = stack.back();
    switch (op) {
    case schema::ExprOp_add:
      left += right;
      break;
    case schema::ExprOp_mul:
      left *= right;
      break;
    case schema::ExprOp_ceil_div:
      left = right ? (left + right - 1) / right : 0;
      break;
    case schema::ExprOp_floor_div:
      left = right ? left / right : 0;
      break;
    case schema::ExprOp_max:
      left = std::max(left, right);
      break;
    case schema::ExprOp_min:
      left = std::min(left, right);
      break;
    default:
      break;
    }
  }
  return stack.empty() ? 0 : stack.back();
}
