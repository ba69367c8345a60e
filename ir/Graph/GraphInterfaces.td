#ifndef KILN_GRAPH_INTERFACES
#define KILN_GRAPH_INTERFACES

include "mlir/IR/OpBase.td"

// What fusion and kernel forming may know of an op without knowing its name.
def FusableOpInterface : OpInterface<"FusableOpInterface"> {
  let cppNamespace = "::kiln::graph";
  let description = [{
    Rows are the leading dim of an operand or result. Every op of this interface computes row i of
    its results from row i of its row operands (and from whole weights), except `Attention`, whose
    rows meet in the cache, and `Gather`, which picks rows by index.
  }];
  let methods = [
    InterfaceMethod<"How the op may take part in a fused region.", "::kiln::graph::FusionKind",
                    "getFusionKind", (ins)>,
  ];
}

// A named op written in terms of upstream dialects.
def DecomposableOpInterface : OpInterface<"DecomposableOpInterface"> {
  let cppNamespace = "::kiln::graph";
  let description = [{
    The op's reference meaning as linalg, tensor, arith and math on tensors (weights that are stored
    in a packed format come in as `graph.dequantize` results). Any number of rows, static or dynamic.
    The builder's insertion point is before the op; the values returned replace its results.
  }];
  let methods = [
    InterfaceMethod<"Builds the decomposition.",
                    "::mlir::FailureOr<::llvm::SmallVector<::mlir::Value>>", "decompose",
                    (ins "::mlir::OpBuilder &":$builder)>,
  ];
}

#endif
