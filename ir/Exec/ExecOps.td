#ifndef KILN_EXEC_OPS
#define KILN_EXEC_OPS

include "ir/Graph/GraphDialect.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/IR/RegionKindInterface.td"

def Exec_Dialect : Dialect {
  let name = "exec";
  let cppNamespace = "::kiln::exec";
  let summary = "What a device does: buffers, kernel launches, barriers, tiles";
  let description = [{
    A function is a flat list of steps over buffers. A buffer is an SSA value of tensor type that
    describes its contents; every expression (bytes, offset) is an affine map
    `()[d0, d1, ...] -> (e)` over the function's dims in their declared order. A kernel holds the
    graph ops it computes, on whole tensors with dynamic rows; code generation turns it into a
    function over tiles. See ir/Exec/README.md for the specification.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::kiln::graph::GraphDialect"];
}

def Exec_DimBoundsAttr : AttrDef<Exec_Dialect, "DimBounds"> {
  let mnemonic = "dim";
  let summary = "A dim of a function: name and inclusive bounds; of a derived dim its value";
  let description = "As graph.dim: free dims first; `value` is an expression of the dims before it.";
  let parameters = (ins StringRefParameter<>:$name, "int64_t":$min, "int64_t":$max,
                        OptionalParameter<"::mlir::AffineMapAttr">:$value,
                        DefaultValuedParameter<"bool", "false">:$computed);
  let builders = [AttrBuilder<(ins "::llvm::StringRef":$name, "int64_t":$min, "int64_t":$max), [{
    return $_get($_ctxt, name, min, max, ::mlir::AffineMapAttr(), false);
  }]>];
  let assemblyFormat = [{
    `<` $name `in` `[` $min `,` $max `]` (`is` $value^)? (`computed` `=` $computed^)? `>`
  }];
}

class Exec_Op<string opMnemonic, list<Trait> traits = []>
    : Op<Exec_Dialect, opMnemonic, traits>;

// ---- Schedule -------------------------------------------------------------------------------

def Exec_FuncOp : Exec_Op<"func", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator]> {
  let summary = "A compiled function: buffers, launches and barriers in order";
  let description = [{
    After memory planning `arena_bytes` (a map whose results' maximum is the arena's size) and
    `lower_bound_bytes` (the same for the largest sum of live buffers) are set.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypedArrayAttrBase<Exec_DimBoundsAttr, "dims">:$dims,
                       OptionalAttr<AffineMapAttr>:$arena_bytes,
                       OptionalAttr<AffineMapAttr>:$lower_bound_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `dims` $dims attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Exec_InputOp : Exec_Op<"input", [HasParent<"FuncOp">]> {
  let summary = "An input buffer, owned by the caller, dense";
  let arguments = (ins StrAttr:$name, OptionalAttr<AffineMapAttr>:$index_limit);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Exec_OutputOp : Exec_Op<"output", [HasParent<"FuncOp">]> {
  let summary = "An output buffer, owned by the caller, dense";
  let arguments = (ins StrAttr:$name);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Exec_StateOp : Exec_Op<"state", [HasParent<"FuncOp">]> {
  let summary = "Memory that outlives the call, owned by the caller";
  let arguments = (ins StrAttr:$name);
  let results = (outs Graph_CacheType:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Exec_WeightOp : Exec_Op<"weight", [HasParent<"FuncOp">]> {
  let summary = "A packed weight of the artifact";
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Exec_BufferOp : Exec_Op<"buffer", [HasParent<"FuncOp">]> {
  let summary = "A buffer in the arena";
  let description = [{
    Rows are padded to `row_stride` elements (0: dense). `bytes` is its size; `offset` its place,
    set by memory planning.
  }];
  let arguments = (ins I64Attr:$row_stride, AffineMapAttr:$bytes, OptionalAttr<AffineMapAttr>:$offset);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "`stride` $row_stride `bytes` $bytes (`at` $offset^)? attr-dict `:` type($result)";
}

def Exec_LaunchOp : Exec_Op<"launch", [HasParent<"FuncOp">, AttrSizedOperandSegments]> {
  let summary = "Runs a kernel over all its items";
  let description = [{
    `reads` then `writes` bind the kernel's parameters in order. A cache among `reads` is written too;
    `layers` gives, for each cache operand, the layer whose pages are bound.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyType>:$reads,
                       Variadic<AnyRankedTensor>:$writes, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$layers);
  let assemblyFormat = [{
    $kernel `(` ($reads^ `:` type($reads))? `)` `->` `(` ($writes^ `:` type($writes))? `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Exec_BarrierOp : Exec_Op<"barrier", [HasParent<"FuncOp">]> {
  let summary = "Every worker waits for all";
  let assemblyFormat = "attr-dict";
}

// Control flow. Steps of a function are a line; marks are places in it, by number.

def Exec_ViewOp : Exec_Op<"view", [HasParent<"FuncOp">]> {
  let summary = "The memory of a buffer, input, output or weight as a value of another type";
  let description = "Rows are as far apart as before, where there are as many columns; else both are dense.";
  let arguments = (ins AnyRankedTensor:$buffer);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$buffer attr-dict `:` type($buffer) `as` type($result)";
}

def Exec_MarkOp : Exec_Op<"mark", [HasParent<"FuncOp">]> {
  let summary = "A place that jumps lead to";
  let arguments = (ins I64Attr:$number);
  let assemblyFormat = "$number attr-dict";
}

def Exec_JumpOp : Exec_Op<"jump", [HasParent<"FuncOp">]> {
  let summary = "Goes on at a mark";
  let arguments = (ins I64Attr:$mark);
  let assemblyFormat = "$mark attr-dict";
}

def Exec_BranchOp : Exec_Op<"branch", [HasParent<"FuncOp">]> {
  let summary = "Goes on at a mark where a scalar of i1 is false";
  let arguments = (ins AnyRankedTensor:$condition, I64Attr:$mark);
  let assemblyFormat = "$condition `else` $mark attr-dict `:` type($condition)";
}

def Exec_SetDimsOp : Exec_Op<"set_dims", [HasParent<"FuncOp">]> {
  let summary = "Gives computed dims the elements of a vector of i64; the dims derived from them follow";
  let arguments = (ins AnyRankedTensor:$values, DenseI64ArrayAttr:$dims);
  let assemblyFormat = "$dims `to` $values attr-dict `:` type($values)";
}

// ---- Kernels --------------------------------------------------------------------------------

def Exec_KernelOp : Exec_Op<"kernel", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "What a launch computes: graph ops from parameters to results";
  let description = [{
    The block's arguments are the launch's `reads`; `graph.yield` gives the `writes`. `dims` are the dims of the
    calling functions, in order. `row_strides` holds, for each read and then each write, the
    distance between rows in elements (0 where the value is no row-major activation: weights, caches).
    An attention op inside has layer 0: the launch binds the layer's pages.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$dims, DenseI64ArrayAttr:$row_strides);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `dims` $dims `strides` $row_strides attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

// ---- Tiles: the loop form of a kernel during code generation -----------------------------------

def Exec_TileLoopOp : Exec_Op<"tile_loop", [SingleBlockImplicitTerminator<"TileYieldOp">,
                                            RecursiveMemoryEffects]> {
  let summary = "A loop over a dynamic extent whose body computes a tile of rows";
  let description = [{
    The body's block argument is the first row of the tile; tile values in it have a dynamic leading
    dim (`tensor<?x16xf32>`). `split-dynamic-loops` replaces the op by one loop for each of `tiles`
    (descending, the last is 1), in which the dim is static: full tiles without predicates, then
    the specialised remainders.
  }];
  let arguments = (ins Index:$lower, Index:$upper, DenseI64ArrayAttr:$tiles);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$lower `to` $upper `tiles` $tiles attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Exec_TileYieldOp : Exec_Op<"tile_yield", [Pure, Terminator]> {
  let assemblyFormat = "attr-dict";
}

def Exec_TileDotOp : Exec_Op<"tile_dot", [MemoryEffects<[MemRead]>]> {
  let summary = "Dot products of a tile of prepared rows with a few panels of stored weights";
  let description = [{
    `rows` points at prepared activations (see codegen/Contraction) and `row` is the first row of the tile;
    each of `panels` points at a panel of 16 outputs; the one that follows it in the loop around lies
    `ahead` bytes later. `strategy` names how the target multiplies; it may write as many bytes at `scratch`
    as it asks for.
    Results: tensor<?x16xf32>, one for each panel.
  }];
  let arguments = (ins AnyType:$rows, Index:$row, AnyType:$scratch, Variadic<AnyType>:$panels,
                       StrAttr:$format, StrAttr:$strategy, I64Attr:$depth, DefaultValuedAttr<I64Attr, "0">:$ahead);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $rows `[` $row `]` `,` $panels `scratch` $scratch $format $strategy `depth` $depth attr-dict
    `:` type($rows) `,` type($scratch) `,` type($panels) `->` type($results)
  }];
  let hasVerifier = 1;
}

def Exec_TileLoadOp : Exec_Op<"tile_load", [MemoryEffects<[MemRead]>]> {
  let summary = "Loads a tile of a row-major f32 activation";
  let arguments = (ins AnyType:$base, Index:$row, Index:$column, I64Attr:$stride, I64Attr:$columns);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$base `[` $row `,` $column `]` `stride` $stride `columns` $columns attr-dict `:` type($base) `->` type($result)";
}

def Exec_TileBroadcastOp : Exec_Op<"tile_broadcast", [MemoryEffects<[MemRead]>]> {
  let summary = "Loads 16 values of a vector and repeats them in every row of a tile";
  let arguments = (ins AnyType:$base, Index:$column);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$base `[` $column `]` attr-dict `:` type($base) `->` type($result)";
}

def Exec_TileStoreOp : Exec_Op<"tile_store", [MemoryEffects<[MemWrite]>]> {
  let summary = "Stores a tile into a row-major f32 activation, columns below `columns` only";
  let arguments = (ins AnyRankedTensor:$value, AnyType:$base, Index:$row, Index:$column,
                       I64Attr:$stride, I64Attr:$columns);
  let assemblyFormat = "$value `,` $base `[` $row `,` $column `]` `stride` $stride `columns` $columns attr-dict `:` type($value) `,` type($base)";
}

#endif
