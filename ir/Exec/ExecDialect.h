// The exec dialect: what a device does. Specification: ir/Exec/README.md.
#ifndef KILN_IR_EXEC_EXECDIALECT_H
#define KILN_IR_EXEC_EXECDIALECT_H

#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/RegionKindInterface.h"

#include "ir/Exec/ExecDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/Exec/ExecAttrs.h.inc"
#define GET_OP_CLASSES
#include "ir/Exec/ExecOps.h.inc"

#endif
