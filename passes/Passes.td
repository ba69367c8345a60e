// Every pass of the compiler. Each description has four lines: Does, Requires, Guarantees, Example;
// the example names a lit test, so it is run.
#ifndef KILN_PASSES
#define KILN_PASSES

include "mlir/Pass/PassBase.td"

// ---- graph -> graph ---------------------------------------------------------------------------

def FoldConstants : Pass<"fold-constants", "::kiln::graph::FuncOp"> {
  let summary = "Replaces ops on constants by their values";
  let description = [{
    Does: evaluates ops whose operands are all `graph.constant`, up to `max-bytes` of result.
    Requires: a `graph.func`.
    Guarantees: no op of constant operands with a small result is left, save those without a folder.
    Example: tests/passes/fold-constants.mlir
  }];
  let options = [Option<"maxBytes", "max-bytes", "int64_t", "4096",
                        "Largest constant to create, in bytes">];
}

def RecognizeOperators : Pass<"recognize-operators", "::kiln::graph::FuncOp"> {
  let summary = "Gives operators that are written out in primitives their names"
                ": activations, norms, attention, rotary embedding";
  let description = [{
    Does: replaces formulas of array ops by `gelu`, `silu`, `layer_norm`, `rms_norm`, `attention`, `rotate` and others.
    Requires: constants are folded; equal ops are one.
    Guarantees: the same values up to rounding; what something else needs is left.
    Example: tests/passes/recognize-operators.mlir
  }];
}

def CancelTransposes : Pass<"cancel-transposes", "::kiln::graph::FuncOp"> {
  let summary = "Moves transposes of arrays down until they meet their inverse";
  let description = [{
    Does: swaps transposes with ops that do not care about the order of dims; joins those that meet.
    Requires: a `graph.func`.
    Guarantees: no transpose follows a transpose, no reshape a reshape; results keep their types.
    Example: tests/passes/cancel-transposes.mlir
  }];
}

def FuseHorizontalMatmuls : Pass<"fuse-horizontal-matmuls", "::mlir::ModuleOp"> {
  let summary = "Merges matmuls of one input into one matmul over a concatenated weight";
  let description = [{
    Does: replaces matmuls of the same input (and their bias adds) by one matmul and slices.
    Requires: weights that have one use and the same format and transforms.
    Guarantees: results that meet in an elementwise op stay apart (they will share a region as they are).
    Example: tests/passes/fuse-horizontal-matmuls.mlir
  }];
}

def QuantizeWeights : Pass<"quantize-weights", "::mlir::ModuleOp"> {
  let summary = "Chooses the format of every weight";
  let description = [{
    Does: gives matmul weights and embedding tables the format `format`; vectors become f32.
    Requires: graph functions whose weights are still matmul, embed, norm or elementwise operands.
    Guarantees: under q4, tables and the weights of the logits have 8 bits; `graph.use` types follow.
    Example: tests/passes/quantize-weights.mlir
  }];
  let options = [
    Option<"format", "format", "std::string", "\"none\"", "none, q8 or q4">,
    Option<"keepBlocks", "keep-blocks", "bool", "false",
           "weights whose sources are quantized blocks of one type keep them">,
    ListOption<"overrides", "overrides", "std::string",
               "name=format: the format of the weights whose name, or a source's, matches the glob">,
  ];
}

def AssignWeightLayouts : Pass<"assign-weight-layouts", "::mlir::ModuleOp"> {
  let summary = "Chooses how every weight is laid out in the artifact";
  let description = [{
    Does: gives matrices the layout panel16 and vectors the layout rows in f32.
    Requires: formats are chosen.
    Guarantees: every `graph.use` has its weight's stored type.
    Example: tests/passes/assign-weight-layouts.mlir
  }];
}

def FuseRegions : Pass<"fuse-regions", "::kiln::graph::FuncOp"> {
  let summary = "Groups ops into the regions that become kernels";
  let description = [{
    Does: grows a `graph.fused` around every contraction and attention, and gathers what is left.
    Requires: every op is a `graph.use`, a `graph.constant`, control flow, or implements FusableOpInterface.
    Guarantees: blocks hold only uses, regions, control flow and what ends them; a contraction's region gives only the contraction's or its epilogue's values.
    Example: tests/passes/fuse-regions.mlir
  }];
}

// ---- graph -> exec ----------------------------------------------------------------------------

def FormKernels : Pass<"form-kernels", "::mlir::ModuleOp"> {
  let summary = "Turns graph functions into schedules of kernel launches";
  let description = [{
    Does: outlines every `graph.fused` into an `exec.kernel`, one for all regions of equal content; control flow becomes jumps.
    Requires: fuse-regions has run; weights have formats and layouts.
    Guarantees: no `graph.func` is left; layers and weights are bindings; rows of arena buffers are padded to 16 elements.
    Example: tests/passes/form-kernels.mlir
  }];
  let dependentDialects = ["::kiln::exec::ExecDialect"];
}

def InsertBarriers : Pass<"insert-barriers", "::kiln::exec::FuncOp"> {
  let summary = "Places barriers where launches depend on each other";
  let description = [{
    Does: inserts `exec.barrier` before a launch that touches what a launch since the last barrier wrote, or writes what one read.
    Requires: buffers do not overlap yet (memory is not planned).
    Guarantees: launches between two barriers are independent; caches of different layers are too.
    Example: tests/passes/insert-barriers.mlir
  }];
}

def PlanMemory : Pass<"plan-memory", "::kiln::exec::FuncOp"> {
  let summary = "Places every buffer in the arena";
  let description = [{
    Does: sets `offset` of every buffer, `arena_bytes` and `lower_bound_bytes` of the function.
    Requires: barriers are in place; sizes are sums and products of dims and their quotients.
    Guarantees: buffers that are live between the same two barriers do not overlap for any dims within their bounds; offsets are multiples of 64 bytes.
    Example: tests/passes/plan-memory.mlir
  }];
}

// ---- inside kernels ---------------------------------------------------------------------------

def SplitDynamicLoops : Pass<"split-dynamic-loops"> {
  let summary = "Replaces tile loops by loops over full tiles and specialised remainders";
  let description = [{
    Does: replaces an `exec.tile_loop` by one `scf.for` for each tile size, in which tile types are static.
    Requires: values of the body that hold a tile have a dynamic leading dim; none leaves the body.
    Guarantees: every row is computed once, in tiles as large as fit; no tile loop is left.
    Example: tests/passes/split-dynamic-loops.mlir
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect"];
}

#endif
