#ifndef KILN_GRAPH_DIALECT
#define KILN_GRAPH_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/TensorEncoding.td"

def Graph_Dialect : Dialect {
  let name = "graph";
  let cppNamespace = "::kiln::graph";
  let summary = "What models are made of";
  let description = [{
    Values are immutable tensors; a dynamic dim is `?` in the tensor's shape and named by the
    encoding `#graph.dims<...>`, one symbol per `?`, in order. Symbols are declared by `graph.dim`
    with bounds. Weights are symbols (`graph.weight`) whose bytes stay in their source files. See
    ir/Graph/README.md for the specification.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class Graph_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Graph_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Graph_DimsAttr
    : Graph_Attr<"Dims", "dims", [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "Names of a tensor's dynamic dims, in order";
  let parameters = (ins ArrayRefParameter<"::mlir::FlatSymbolRefAttr">:$symbols);
  let assemblyFormat = "`<` $symbols `>`";
}

def Graph_StoredAttr
    : Graph_Attr<"Stored", "stored", [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "How a weight's bytes are stored: a format of ir/Formats.def and a layout";
  let description = [{
    The tensor type's shape and element type stay logical; `format` and `layout` say what the
    artifact holds: `#graph.stored<"q4_sym_g32", "panel16">`.
  }];
  let parameters = (ins StringRefParameter<>:$format, StringRefParameter<>:$layout);
  let assemblyFormat = "`<` $format `,` $layout `>`";
}

def Graph_SourceAttr : Graph_Attr<"Source", "source"> {
  let summary = "Where a weight's values come from: a byte range of a file";
  let description = [{
    `dtype` is the file's element type (compiler/artifact/BlockTypes.def: "f32", "bf16",
    "gguf.q4_k"), `shape` its shape in the file, row-major; `offset` is in bytes from the start of
    the file; `name` is the tensor's name there. `interleaved = d`: in each run of d rows (a head)
    the file has the rows as 0, d/2, 1, d/2 + 1, …, and the source's value is the rows in order.
  }];
  let parameters = (ins StringRefParameter<>:$file, StringRefParameter<>:$name, "int64_t":$offset,
      StringRefParameter<>:$dtype, ArrayRefParameter<"int64_t">:$shape,
      DefaultValuedParameter<"int64_t", "0">:$interleaved);
  let builders = [AttrBuilder<(ins "::llvm::StringRef":$file, "::llvm::StringRef":$name,
      "int64_t":$offset, "::llvm::StringRef":$dtype, "::llvm::ArrayRef<int64_t>":$shape), [{
    return $_get($_ctxt, file, name, offset, dtype, shape, 0);
  }]>];
  let assemblyFormat = [{
    `<` $file `,` $name `,` `offset` `=` $offset `,` $dtype `,` `[` $shape `]`
        (`,` `interleaved` `=` $interleaved^)? `>`
  }];
}

// Transforms are applied in order to the list of sources. Each maps tensors to tensors; after the
// last exactly one is left, of the weight's type. Quantizing and packing are not in the list: the
// weight's `format` and `layout` say them.
def Graph_TransposeAttr : Graph_Attr<"Transpose", "transpose"> {
  let summary = "Transposes every (rank-2) source";
  let assemblyFormat = "";
}
def Graph_ConcatAttr : Graph_Attr<"Concat", "concat"> {
  let summary = "Concatenates the sources along dim 0";
  let assemblyFormat = "";
}

def Graph_OffsetAttr : Graph_Attr<"Offset", "offset"> {
  let summary = "Adds a constant to every element: a norm whose weights are stored less 1";
  let parameters = (ins "::mlir::FloatAttr":$value);
  let assemblyFormat = "`<` $value `>`";
}

class Graph_Type<string name, string typeMnemonic> : TypeDef<Graph_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Graph_CacheType : Graph_Type<"Cache", "cache"> {
  let summary = "A paged KV cache: a pool of fixed-size pages for every layer";
  let description = [{
    Memory: `[layer][page][key, value]` where a page of keys is `[kv_head][head_dim][page_size]` (positions
    contiguous, so that scores of neighbouring positions fill a vector) and a page of values
    `[kv_head][page_size][head_dim]`. `pages` is the dim that counts the pool's pages. Elements
    are `f32`, `f16`, or `i8`: codes with a scale of their own for each position and kv head, value =
    code * scale, scale = max|x| / 127. The scales, f32 `[page_size]`, follow each head's codes:
    `[kv_head][codes, scales]`.
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$kvHeads, "int64_t":$headDim,
      "int64_t":$pageSize, "::mlir::FlatSymbolRefAttr":$pages, "::mlir::Type":$elementType);
  let assemblyFormat = [{
    `<` `layers` `=` $layers `,` `kv_heads` `=` $kvHeads `,` `head_dim` `=` $headDim `,`
        `page_size` `=` $pageSize `,` `pages` `=` $pages `,` $elementType `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Bytes of one layer's page: keys and values of all heads.
    int64_t getLayerPageBytes() const;
    /// Bytes of a page of keys, or of values, of one head, with their scales.
    int64_t getHeadPageBytes() const;
    int64_t getElementBytes() const;
    bool hasScales() const;
  }];
}

#endif
