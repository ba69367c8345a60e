// Expressions of a program's flatbuffer.
#ifndef KILN_TOOLS_EVALUATEEXPR_H
#define KILN_TOOLS_EVALUATEEXPR_H

#include "program_generated.h"
#include <cstdint>
#include <vector>

namespace kiln {

/// The value for these dims, of all of the function's. The runtime has verified the program.
int64_t evaluateExpr(const schema::Expr &expr, const std::vector<int64_t> &dims);

} // namespace kiln

#endif
