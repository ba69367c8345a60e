// Registration of the exec dialect.
#include "ir/Exec/ExecDialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace kiln::exec;

#include "ir/Exec/ExecDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/Exec/ExecAttrs.cpp.inc"

void ExecDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "ir/Exec/ExecAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "ir/Exec/ExecOps.cpp.inc"
      >();
}
