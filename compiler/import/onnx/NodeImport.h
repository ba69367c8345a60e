// One node of an ONNX graph while it is translated, and the table of operators.
#ifndef KILN_COMPILER_IMPORT_ONNX_NODEIMPORT_H
#define KILN_COMPILER_IMPORT_ONNX_NODEIMPORT_H

#include "compiler/import/onnx/ArrayBuilder.h"

namespace kiln {

class GraphImport;

/// What the function of an operator gets: the node's inputs and attributes, and a builder. Results
/// are appended to `results`; a problem is noted with fail(), which ends the node.
class NodeImport {
public:
  NodeImport(GraphImport &graph, ArrayBuilder &a, const OnnxNode &node, int64_t version)
      : graph(graph), a(a), node(node), version(version) {}

  GraphImport &graph;
  ArrayBuilder &a;
  const OnnxNode &node;
  const int64_t version;           // of the opset of the node's domain
  llvm::SmallVector<Array> inputs; // empty ones are absent
  llvm::SmallVector<Array> results;

  bool has(size_t i) const { return i < inputs.size() && bool(inputs[i]); }
  /// Input i; absent ones fail.
  const Array &input(size_t i);
  /// The integers of input i, which is there, as sizes; null where they are not known.
  const llvm::SmallVector<mlir::AffineExpr> *sizes(size_t i) const {
    return a.expressionsOf(inputs[i]);
  }
  /// Input i, of one element, as a scalar; fails where it has others.
  Array scalarInput(size_t i);
  /// Whether somebody wants output i.
  bool wants(size_t i) const { return i < node.outputs.size() && !node.outputs[i].empty(); }

  const OnnxAttribute *attribute(llvm::StringRef name) const;
  bool hasAttribute(llvm::StringRef name) const { return attribute(name) != nullptr; }
  int64_t integer(llvm::StringRef name, int64_t otherwise) const;
  double real(llvm::StringRef name, double otherwise) const;
  std::string text(llvm::StringRef name, llvm::StringRef otherwise) const;
  llvm::SmallVector<int64_t> integers(llvm::StringRef name,
                                      llvm::ArrayRef<int64_t> otherwise = {}) const;

  /// An axis within a rank, negative ones counted from the end; fails outside.
  std::optional<int64_t> axis(int64_t value, int64_t rank);
  /// Axes of an attribute, or of an input that is constant; nullopt where neither is given. Where
  /// an input is not constant this fails: see the run-time ways of each operator.
  std::optional<llvm::SmallVector<int64_t>> axes(llvm::StringRef attribute, size_t input,
                                                 int64_t rank);
  /// The type that the graph declares for output i, where it does: rank and dims, fixed ones or
  /// names.
  const OnnxValue *declared(size_t i) const;
  /// The shape that the graph declares for output i: dims known by name elsewhere are those, others
  /// are declared as computed ones; nullopt where the rank is not declared.
  std::optional<Shape> declaredShape(size_t i);

  /// A vector of i64 made of input i, with an element for each dim of output 0: where its length is
  /// not known, the output's declared rank tells it. Empty after a failure.
  Array sizesInput(size_t i);
  /// The shape of output i whose sizes are computed while the model runs: `sizes` is a vector of
  /// i64 with an element for each dim. Sizes that the graph declares are taken as declared; the
  /// others become computed dims, given here.
  std::optional<Shape> runtimeShape(size_t i, const Array &sizes);

  void fail(const llvm::Twine &message);
};

using ImportFunction = void (*)(NodeImport &node);

/// An operator of ONNX from a version of its domain on; the latest that is not newer than the
/// model's opset counts.
struct OnnxOperator {
  llvm::StringLiteral domain; // "" for ai.onnx, "com.microsoft"
  llvm::StringLiteral type;
  int64_t since;
  ImportFunction import;
};

/// Null where the operator is not supported.
const OnnxOperator *findOnnxOperator(llvm::StringRef domain, llvm::StringRef type, int64_t version);

// The tables, a file for each family (compiler/import/onnx/operators/).
llvm::ArrayRef<OnnxOperator> onnxElementwise();   // Elementwise.cpp
llvm::ArrayRef<OnnxOperator> onnxShapes();        // Shapes.cpp: Reshape, Concat, Shape, …
llvm::ArrayRef<OnnxOperator> onnxSlices();        // Slices.cpp: Slice, Pad, CenterCropPad
llvm::ArrayRef<OnnxOperator> onnxReductions();    // Reductions.cpp: Reduce*, Softmax, norms
llvm::ArrayRef<OnnxOperator> onnxProducts();      // Products.cpp: MatMul, Gemm, Einsum, …
llvm::ArrayRef<OnnxOperator> onnxImages();        // Images.cpp: Conv, DepthToSpace, …
llvm::ArrayRef<OnnxOperator> onnxPools();         // Pools.cpp: MaxPool, RoiAlign, …
llvm::ArrayRef<OnnxOperator> onnxResampling();    // Resampling.cpp: Resize, GridSample, …
llvm::ArrayRef<OnnxOperator> onnxSignals();       // Signals.cpp: DFT, STFT, windows
llvm::ArrayRef<OnnxOperator> onnxLosses();        // Losses.cpp
llvm::ArrayRef<OnnxOperator> onnxTraining();      // Training.cpp: steps of optimizers
llvm::ArrayRef<OnnxOperator> onnxQuantization();  // Quantization.cpp: QDQ, QLinear*
llvm::ArrayRef<OnnxOperator> onnxQuantizedMaps(); // QuantizedMaps.cpp: QLinear* of com.microsoft
llvm::ArrayRef<OnnxOperator> onnxLookUps();       // LookUps.cpp: Gather, Scatter, …
llvm::ArrayRef<OnnxOperator> onnxOrder();         // Order.cpp: TopK, NonZero, …
llvm::ArrayRef<OnnxOperator> onnxControl();       // Control.cpp: If, Loop, Scan
llvm::ArrayRef<OnnxOperator> onnxSequences();     // Sequences.cpp: sequences, optionals
llvm::ArrayRef<OnnxOperator> onnxRecurrent();     // Recurrent.cpp: LSTM, GRU, RNN
llvm::ArrayRef<OnnxOperator> onnxAttention();     // Attention.cpp: opset 23 and later
llvm::ArrayRef<OnnxOperator> onnxFlexAttention(); // FlexAttention.cpp
llvm::ArrayRef<OnnxOperator> onnxMicrosoft();     // Microsoft.cpp
llvm::ArrayRef<OnnxOperator> onnxMicrosoftAttention(); // MicrosoftAttention.cpp

/// Translates the nodes of a graph (or sub-graph).
class GraphImport {
public:
  GraphImport(ArrayBuilder &a, const OnnxModel &model, const OnnxGraph &graph,
              GraphImport *outer = nullptr)
      : a(a), model(model), graph(graph), outer(outer) {}

  ArrayBuilder &a;
  const OnnxModel &model;
  const OnnxGraph &graph;
  GraphImport *outer;
  llvm::StringMap<Array> values; // by name; sub-graphs see those outside

  const Array *find(llvm::StringRef name) const;
  /// The size that the graph declares for dim `position` of a value: fixed, a dim known by its
  /// name, or a computed one that is named so now, which somebody has to set.
  mlir::AffineExpr sizeOf(const OnnxDim &dim, llvm::StringRef value, size_t position);
  /// Translates all nodes; problems are noted in the builder.
  void run();
  /// The graph's outputs, after run().
  llvm::SmallVector<Array> outputs();
};

/// The MLIR element type of an ONNX type; null for strings and complex numbers.
mlir::Type elementTypeOf(OnnxType type, mlir::MLIRContext *context);

} // namespace kiln

#endif
