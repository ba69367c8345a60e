#ifndef KILN_GRAPH_OPS
#define KILN_GRAPH_OPS

include "ir/Graph/GraphDialect.td"
include "ir/Graph/GraphInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Graph_Op<string opMnemonic, list<Trait> traits = []>
    : Op<Graph_Dialect, opMnemonic, traits>;

// ---- Declarations ---------------------------------------------------------------------------

def Graph_DimOp : Graph_Op<"dim", [Symbol]> {
  let summary = "Declares a dynamic dim with inclusive bounds";
  let description = [{
    A free dim is given by the caller, through the shapes of the inputs. A derived one has a `value`: an
    expression of the dims declared before it, or the largest of several. A `computed` one is known only while the function runs: a
    `graph.set_dims` gives it, within the bounds. Free dims are declared first.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$min, I64Attr:$max,
                       OptionalAttr<AffineMapAttr>:$value, UnitAttr:$computed);
  let assemblyFormat = [{
    $sym_name `in` `[` $min `,` $max `]` (`is` $value^)? (`computed` $computed^)? attr-dict
  }];
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "int64_t":$min, "int64_t":$max), [{
    build($_builder, $_state, name, min, max, ::mlir::AffineMapAttr(), false);
  }]>];
  let hasVerifier = 1;
}

def Graph_WeightOp : Graph_Op<"weight", [Symbol]> {
  let summary = "Declares a weight: where its values come from and how they are stored";
  let description = [{
    `type` is the logical type after the transforms (f32 elements, no encoding). `format` and
    `layout` say what the artifact will hold; importers set the format that keeps the source's
    values exactly and leave `layout` "rows"; passes change both.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyStaticShapeTensor>:$type,
                       TypedArrayAttrBase<Graph_SourceAttr, "sources">:$sources,
                       DefaultValuedAttr<ArrayAttr, "{}">:$transforms,
                       StrAttr:$format, DefaultValuedStrAttr<StrAttr, "rows">:$layout);
  let assemblyFormat = [{
    $sym_name `:` $type `from` $sources (`via` $transforms^)? `as` $format $layout attr-dict
  }];
  let extraClassDeclaration = [{
    /// The type that uses of the weight have: the logical type with a `stored` encoding.
    ::mlir::RankedTensorType getStoredType();
  }];
  let hasVerifier = 1;
}

def Graph_FuncOp : Graph_Op<"func", [FunctionOpInterface, IsolatedFromAbove, OpAsmOpInterface,
                                     SingleBlock]> {
  let summary = "A function of the model that the artifact exports";
  let description = [{
    Argument attributes: `graph.name` (StringAttr, required) names the input, `graph.index_limit`
    (an affine map `()[dims...] -> (limit)` over the module's dims in declaration order) bounds index
    inputs: 0 <= v < limit. Result attributes: `graph.name`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type,
                       OptionalAttr<DictArrayAttr>:$arg_attrs,
                       OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region AnyRegion:$body);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
  }];
  let extraClassDefinition = [{
    ::mlir::ParseResult $cppClass::parse(::mlir::OpAsmParser &parser, ::mlir::OperationState &result) {
      return parseGraphFunc(parser, result);
    }
    void $cppClass::print(::mlir::OpAsmPrinter &printer) { printGraphFunc(printer, *this); }
  }];
}

def Graph_ReturnOp : Graph_Op<"return", [Pure, HasParent<"FuncOp">, ReturnLike, Terminator]> {
  let summary = "Results of the function";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Graph_WeightRefOp : Graph_Op<"use", [Pure]> {
  let summary = "A weight as a value";
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Graph_FusedOp : Graph_Op<"fused", [IsolatedFromAbove, SingleBlock]> {
  let summary = "Ops that will become one kernel";
  let description = [{
    The body's block arguments are the operands, in order; `graph.yield` gives the results.
  }];
  let arguments = (ins Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Graph_YieldOp : Graph_Op<"yield", [Pure, ReturnLike, Terminator]> {
  let summary = "Results of a fused region or a kernel";
  let arguments = (ins Variadic<AnyRankedTensor>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Graph_ConstantOp : Graph_Op<"constant", [Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A small tensor known at compile time";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$value attr-dict";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{
    build($_builder, $_state, value.getType(), value);
  }]>];
}

// ---- Computation ----------------------------------------------------------------------------

class Graph_ComputeOp<string opMnemonic, list<Trait> traits = []>
    : Graph_Op<opMnemonic, !listconcat(traits, [
        DeclareOpInterfaceMethods<FusableOpInterface>,
        DeclareOpInterfaceMethods<DecomposableOpInterface>])>;

def Graph_EmbedOp : Graph_ComputeOp<"embed", [Pure]> {
  let summary = "Rows of a table picked by index: ids [n] of integers, table [rows, d] -> [n, d]";
  let arguments = (ins AnyRankedTensor:$ids, AnyRankedTensor:$table);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_GatherOp : Graph_ComputeOp<"gather", [Pure]> {
  let summary = "Rows of an activation picked by index: x [n, d], rows [m] of integers -> [m, d]";
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$rows);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $rows attr-dict `:` type($input) `,` type($rows) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_MatmulOp : Graph_ComputeOp<"matmul", [Pure]> {
  let summary = "x [n, k] times the transpose of w [m, k] -> [n, m], accumulated in f32";
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_RmsNormOp : Graph_ComputeOp<"rms_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "x / sqrt(mean(x^2) + eps) * w over the last dim; w [d]";
  let description = [{
    Where w is shorter than a row, which it divides, each run of d columns is normalised by itself: the
    heads of a query or key.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, F64Attr:$eps);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $weight `eps` `=` $eps attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

def Graph_LayerNormOp : Graph_ComputeOp<"layer_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "(x - mean) / sqrt(var + eps) * w + b over the last dim; w, b [d]";
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, AnyRankedTensor:$bias,
                       F64Attr:$eps);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight `,` $bias `eps` `=` $eps attr-dict `:` type($input) `,` type($weight) `,` type($bias)
  }];
  let hasVerifier = 1;
}

def Graph_RopeOp : Graph_ComputeOp<"rope", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotary position embedding of every head: x [n, heads * head_dim], positions [n]";
  let description = [{
    Pairs are halves as Hugging Face stores them: of each head's first `rotary_dim` elements, element
    i pairs with i + rotary_dim/2 and is rotated by position * inv_freq[i], with
    inv_freq[i] = theta^(-2i/rotary_dim) unless `inv_freq` (rotary_dim/2 values, already scaled)
    is given. `magnitude` multiplies sines and cosines.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$positions, I64Attr:$head_dim,
                       I64Attr:$rotary_dim, F64Attr:$theta,
                       OptionalAttr<DenseF64ArrayAttr>:$inv_freq,
                       OptionalAttr<F64Attr>:$magnitude);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $positions attr-dict `:` type($input) `,` type($positions)";
  let extraClassDeclaration = [{
    /// Radians per position of each of the rotary_dim / 2 pairs.
    ::llvm::SmallVector<double> getFrequencies();
    /// `magnitude`, or 1.
    double getFactor();
  }];
  let hasVerifier = 1;
}

def Graph_AttentionOp : Graph_ComputeOp<"attention", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Appends keys and values to the paged cache, then attends causally";
  let description = [{
    q [n, heads * head_dim]; k, v [n, kv_heads * head_dim]; positions, slots [n] and block_table
    [s, b] are integers. Token i belongs to sequence slots[i]; its key and value are written at
    positions[i] of that sequence: page block_table[slot][position / page_size] of layer `layer`. All
    appends come before any read. Token i then attends to positions 0 .. positions[i] of its
    sequence: softmax(scale * q . k) v; query head h uses kv head h / (heads / kv_heads).
    Result [n, heads * head_dim].

    `window` w: only to the last w of them, positions[i] - w + 1 on. `softcap` L: scores s become
    L tanh(s / L). `slopes`: to the score of position j, head h adds slopes[h] * (j - positions[i]).

    `lengths` [s]: attention is not causal; token i attends to positions 0 .. lengths[slots[i]] - 1 of
    its sequence, all of which this call appends. Without window and slopes.
  }];
  let arguments = (ins AnyRankedTensor:$query, AnyRankedTensor:$key, AnyRankedTensor:$value,
                       AnyRankedTensor:$positions, AnyRankedTensor:$slots,
                       AnyRankedTensor:$block_table, Graph_CacheType:$cache,
                       Optional<AnyRankedTensor>:$lengths, I64Attr:$layer, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$head_dim,
                       F64Attr:$scale, OptionalAttr<I64Attr>:$window,
                       OptionalAttr<F64Attr>:$softcap, OptionalAttr<DenseF64ArrayAttr>:$slopes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `at` $positions `,` $slots `,` $block_table `in` $cache
    (`of` $lengths^ `:` type($lengths))? attr-dict `:`
    type($query) `,` type($key) `,` type($value) `,` type($positions) `,` type($slots) `,`
    type($block_table) `,` type($cache) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Graph_WorkspaceOp : Graph_Op<"workspace", []> {
  let summary = "Memory that the workers of a kernel share during a launch; holds nothing at first";
  let description = [{
    Added by form-kernels as a last result of kernels around attention, for states of segments of the
    context. An emitter may use it or not; nobody reads it afterwards.
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Graph_SliceOp : Graph_ComputeOp<"slice", [Pure]> {
  let summary = "Columns offset .. offset+size of x [n, d] -> [n, size]";
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$offset, I64Attr:$size);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `[` $offset `,` $size `]` attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

// ---- Arrays ---------------------------------------------------------------------------------

def Graph_ComputeOp : Graph_Op<"compute", [DeclareOpInterfaceMethods<FusableOpInterface>, Pure]> {
  let summary = "An operator on arrays of any rank, by its name: a record of ir/Graph/Operators.h";
  let description = [{
    The record says what the results' types and one element of a result are. `params` holds what the operator
    takes beside its operands. Dims of the operands and results are static, or named.

    `graph.compute "softmax"(%x) {axis = 1 : i64} : (tensor<2x8xf32>) -> tensor<2x8xf32>`
  }];
  let arguments = (ins StrAttr:$kind, Variadic<AnyRankedTensor>:$inputs, DictionaryAttr:$params);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $kind `(` $inputs `)` $params attr-dict `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
}

def Graph_SetDimsOp : Graph_Op<"set_dims", []> {
  let summary = "Gives computed dims their values: the elements of a vector of i64, in order";
  let arguments = (ins AnyRankedTensor:$values,
                       TypedArrayAttrBase<FlatSymbolRefAttr, "dims">:$dims);
  let assemblyFormat = "$dims `to` $values attr-dict `:` type($values)";
}

def Graph_IfOp : Graph_Op<"if", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "One of two regions, by a scalar of i1; both yield values of the results' types";
  let arguments = (ins AnyRankedTensor:$condition);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$then, SizedRegion<1>:$otherwise);
  let assemblyFormat = [{
    $condition attr-dict `:` type($condition) `->` `(` type($outputs) `)` $then `else` $otherwise
  }];
  let hasVerifier = 1;
}

def Graph_LoopOp : Graph_Op<"loop", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "Repeats its region while the first carried value, a scalar of i1, is true";
  let description = [{
    The block's arguments are the carried values, `graph.yield` gives their next ones; the results are
    the last ones. The condition is looked at before each round.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inits);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$inits attr-dict `:` type($inits) `->` `(` type($outputs) `)` $body";
  let hasVerifier = 1;
}

// ---- Experts --------------------------------------------------------------------------------

def Graph_RouteOp : Graph_ComputeOp<"route", [Pure]> {
  let summary = "The best experts of each token: logits [n, experts] -> [n, 2 used]";
  let description = [{
    A row of the result is the numbers of the `used` experts of the largest logits, best first, as f32, then
    their weights: softmax over all experts, divided by the sum over those used where `normalize`.
  }];
  let arguments = (ins AnyRankedTensor:$logits, I64Attr:$used, BoolAttr:$normalize);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$logits attr-dict `:` type($logits) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_ExpertsMatmulOp : Graph_ComputeOp<"experts_matmul", [Pure]> {
  let summary = "Rows times the weights of their experts: x, routes, w [experts * m, k] -> [n, used * m]";
  let description = [{
    x is [n, k], the same for all experts of a token, or [n, used * k], a run of columns for each.
    `routes` is a result of `graph.route`; only the weights of experts that it names are read.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$routes, AnyRankedTensor:$weight,
                       I64Attr:$experts, I64Attr:$used);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $routes `,` $weight attr-dict `:` type($input) `,` type($routes) `,` type($weight) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Graph_CombineOp : Graph_ComputeOp<"combine", [Pure]> {
  let summary = "The weighted sum of what a token's experts give: x [n, used * m], routes -> [n, m]";
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$routes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $routes attr-dict `:` type($input) `,` type($routes) `->` type($result)";
  let hasVerifier = 1;
}

// Elementwise ops. A rank-1 right operand is broadcast over rows.
class Graph_BinaryOp<string opMnemonic, list<Trait> traits = []>
    : Graph_ComputeOp<opMnemonic, !listconcat(traits, [Pure, AllTypesMatch<["lhs", "result"]>])> {
  let arguments = (ins AnyRankedTensor:$lhs, AnyRankedTensor:$rhs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs)";
  let hasVerifier = 1;
  let hasFolder = 1;
}
def Graph_AddOp : Graph_BinaryOp<"add"> { let summary = "lhs + rhs"; }
def Graph_SubOp : Graph_BinaryOp<"sub"> { let summary = "lhs - rhs"; }
def Graph_MulOp : Graph_BinaryOp<"mul"> { let summary = "lhs * rhs"; }
def Graph_DivOp : Graph_BinaryOp<"div"> { let summary = "lhs / rhs"; }

class Graph_UnaryOp<string opMnemonic>
    : Graph_ComputeOp<opMnemonic, [Pure, AllTypesMatch<["input", "result"]>]> {
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasFolder = 1;
}
def Graph_NegOp : Graph_UnaryOp<"neg"> { let summary = "-x"; }
def Graph_ExpOp : Graph_UnaryOp<"exp"> { let summary = "e^x"; }
def Graph_TanhOp : Graph_UnaryOp<"tanh"> { let summary = "tanh x"; }
def Graph_SigmoidOp : Graph_UnaryOp<"sigmoid"> { let summary = "1 / (1 + e^-x)"; }
def Graph_SiluOp : Graph_UnaryOp<"silu"> { let summary = "x / (1 + e^-x)"; }
def Graph_ReluOp : Graph_UnaryOp<"relu"> { let summary = "max(x, 0)"; }
def Graph_GeluOp : Graph_UnaryOp<"gelu"> { let summary = "x/2 (1 + erf(x / sqrt 2))"; }
def Graph_GeluTanhOp : Graph_UnaryOp<"gelu_tanh"> {
  let summary = "x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))";
}

class Graph_FactorOp<string opMnemonic, string attribute>
    : Graph_ComputeOp<opMnemonic, [Pure, AllTypesMatch<["input", "result"]>]> {
  let arguments = !con((ins AnyRankedTensor:$input), !dag(ins, [F64Attr], [attribute]));
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `by` $" # attribute # " attr-dict `:` type($input)";
  let hasFolder = 1;
}
def Graph_ScaleOp : Graph_FactorOp<"scale", "factor"> { let summary = "x * factor"; }
def Graph_SoftcapOp : Graph_FactorOp<"softcap", "limit"> {
  let summary = "limit * tanh(x / limit)";
}

def Graph_DequantizeOp : Graph_Op<"dequantize", [Pure]> {
  let summary = "A stored weight's logical values; exists only while decompositions are built";
  let arguments = (ins AnyRankedTensor:$weight);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($weight) `->` type($result)";
}

#endif
