// The operators of `graph.compute`: records that say what one element of a result is. From a record
// alone a kernel can be made (codegen/array), fused with its neighbours; a kernel of its own for an
// operator is an addition.
//
// Memory: a tensor is rows of its last dim, in row-major order; an element has a byte at least.
// Types: iN is signed, uiN unsigned, i1 a truth value. In code an element has the `codeType` of its
// type: integers lose their sign (the tensor's type tells how to read them) and have 8 bits at
// least but for i1; floats of 16 bits and fewer are f32. Whoever asks for an element of a result
// rounds it to the result's type, so an operator need not.
#ifndef KILN_IR_GRAPH_OPERATORS_H
#define KILN_IR_GRAPH_OPERATORS_H

#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln::graph {

/// What an operator's element is made with. Indices and extents are of type `index`.
class ElementBuilder {
public:
  explicit ElementBuilder(mlir::ImplicitLocOpBuilder &b) : b(b) {}
  virtual ~ElementBuilder() = default;

  mlir::ImplicitLocOpBuilder &b;

  /// The element of `tensor`, an operand of the operator, at `indices`, which must lie inside.
  virtual mlir::Value read(mlir::Value tensor, mlir::ValueRange indices) = 0;
  /// The size of one of a tensor's dims.
  virtual mlir::Value extent(mlir::Value tensor, unsigned dim) = 0;
  /// The value of a dim that the module declares.
  virtual mlir::Value dim(mlir::FlatSymbolRefAttr symbol) = 0;

  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }
  /// A constant of an element type, as code has it; of a vector type in every lane.
  mlir::Value constant(mlir::Type element, double value);
  mlir::Value integer(mlir::Type element, int64_t value);
  static mlir::Type codeType(mlir::Type element);

  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)>;
  /// for i in 0 .. count - 1: state = body(i, state); the last state.
  llvm::SmallVector<mlir::Value> loop(mlir::Value count, mlir::ValueRange state, Body body);
  /// The same over a box of counts, the last index fastest.
  using BoxBody =
      llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange, mlir::ValueRange)>;
  llvm::SmallVector<mlir::Value> loops(mlir::ValueRange counts, mlir::ValueRange state,
                                       BoxBody body);
  using Branch = llvm::function_ref<llvm::SmallVector<mlir::Value>()>;
  /// Evaluates one of the branches: for reads that are allowed only there.
  llvm::SmallVector<mlir::Value> either(mlir::Value condition, mlir::TypeRange types, Branch then,
                                        Branch otherwise);
  mlir::Value select(mlir::Value condition, mlir::Value yes, mlir::Value no) {
    return mlir::arith::SelectOp::create(b, condition, yes, no);
  }

  // Integers and indices.
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return mlir::arith::SubIOp::create(b, x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return mlir::arith::MulIOp::create(b, x, y); }
  mlir::Value less(mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::slt, x, y);
  }
  mlir::Value equal(mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::eq, x, y);
  }
  mlir::Value all(mlir::Value x, mlir::Value y) { return mlir::arith::AndIOp::create(b, x, y); }
  mlir::Value any(mlir::Value x, mlir::Value y) { return mlir::arith::OrIOp::create(b, x, y); }
  mlir::Value min(mlir::Value x, mlir::Value y) { return mlir::arith::MinSIOp::create(b, x, y); }
  mlir::Value max(mlir::Value x, mlir::Value y) { return mlir::arith::MaxSIOp::create(b, x, y); }
  /// An element of an integer tensor as an index, by the sign of its type.
  mlir::Value toIndex(mlir::Value element, mlir::Type type);
  mlir::Value fromIndex(mlir::Value index, mlir::Type type);
  /// The element of an integer tensor as an index.
  mlir::Value readIndex(mlir::Value tensor, mlir::ValueRange indices) {
    return toIndex(read(tensor, indices),
                   mlir::cast<mlir::RankedTensorType>(tensor.getType()).getElementType());
  }
  /// A place along a dim as a model gives it: negative ones count from the end; what lies outside
  /// is brought to the nearest place inside, so that memory is never left.
  mlir::Value placeIn(mlir::Value given, mlir::Value extent) {
    mlir::Value place = select(less(given, index(0)), add(given, extent), given);
    return max(min(place, sub(extent, index(1))), index(0));
  }
  /// A value of one element type as another's: floats to integers towards zero, integers to
  /// narrower ones by their low bits, to i1: x != 0.
  mlir::Value convert(mlir::Value element, mlir::Type from, mlir::Type to);
  /// The bits of a float of fewer than 32, an integer of 8 at least, and the float of such bits:
  /// scalars, where kernels of array operators are made.
  virtual mlir::Value narrowToBits(mlir::Value, mlir::FloatType) {
    llvm_unreachable("narrow floats are elements of arrays");
  }
  virtual mlir::Value narrowFromBits(mlir::Value, mlir::FloatType) {
    llvm_unreachable("narrow floats are elements of arrays");
  }
};

/// What an operator that cannot be told by elements is made with: it writes its results itself.
/// Its operands lie in memory.
class FillBuilder : public ElementBuilder {
public:
  using ElementBuilder::ElementBuilder;
  /// Writes an element of a result.
  virtual void write(unsigned result, mlir::Value element, mlir::ValueRange indices) = 0;
  /// An element of a result that this item has written.
  virtual mlir::Value readBack(unsigned result, mlir::ValueRange indices) = 0;
  /// This worker's scratch memory (!llvm.ptr), Operator::scratchBytes long.
  virtual mlir::Value scratch() = 0;
  /// An element of a code type of 8 bits at least in scratch memory, `place` bytes (an index) from
  /// its start. Nothing else lies there.
  virtual mlir::Value loadScratch(mlir::Type element, mlir::Value place) = 0;
  virtual void storeScratch(mlir::Value element, mlir::Value place) = 0;
};

/// How much of its operands an element needs.
enum class Cost {
  Index, // one element of an operand, somewhere: a copy that fusion removes
  Map,   // one element of each operand
  Once,  // many elements, but each operand's element serves one result's element: reductions
  Many,  // many elements, many times: operands are computed once and kept
  Fill,  // see Operator::fill
};

struct Operator {
  llvm::StringLiteral name;
  Cost cost;
  /// Of Map: a result's element from its operands' elements: scalars of their code types or, where
  /// `mapsVectors`, vectors with as many lanes each. `element` is then `mapElement`.
  mlir::Value (*map)(ElementBuilder &e, ComputeOp op, mlir::ValueRange elements) = nullptr;
  /// Element `indices` of result `result`. Index and map operators read each operand once at most.
  /// Null for Fill.
  mlir::Value (*element)(ElementBuilder &e, ComputeOp op, unsigned result,
                         mlir::ValueRange indices) = nullptr;
  /// Of Fill: writes all elements of all results whose indices along the leading dims named by
  /// `itemDims` are `indices`; distinct items may run at the same time.
  void (*fill)(FillBuilder &f, ComputeOp op, mlir::ValueRange indices) = nullptr;
  /// Of Fill: dims of result 0 that are computed independently, in order; null: none, one item.
  llvm::SmallVector<unsigned> (*itemDims)(ComputeOp op) = nullptr;
  /// Of Fill: bytes of scratch (extentExpr); null: none.
  mlir::AffineExpr (*scratchBytes)(ComputeOp op) = nullptr;
  /// Result 0 is operand 0, changed in place.
  bool inPlace = false;
  /// Of Index: elements of the result may be the same element of an operand.
  bool repeats = false;
  /// Fails with a diagnostic where operands, params and results do not fit; null: nothing to check.
  mlir::LogicalResult (*verify)(ComputeOp op) = nullptr;
  /// Of Map: computed anew by whoever reads it, since reading its result from memory costs more.
  bool recomputed = false;
};

/// Whether a map operator may be given vectors: one on floats and truth values, and of those on
/// integers the ones that are found between products of codes.
bool mapsVectors(ComputeOp op);

/// The element of a map operator: operands are broadcast as numpy does it, trailing dims aligned.
mlir::Value mapElement(ElementBuilder &e, ComputeOp op, unsigned result, mlir::ValueRange indices);
/// The indices in an operand that is broadcast to a result with these.
llvm::SmallVector<mlir::Value> broadcastIndices(ElementBuilder &e, mlir::Value operand,
                                                mlir::RankedTensorType result,
                                                mlir::ValueRange indices);

/// Null where there is no operator of that name.
const Operator *findOperator(llvm::StringRef name);
const Operator &operatorOf(ComputeOp op);

/// The size of a dim as an expression of the dims of the module or kernel that an op is in (the
/// position of a dim is its symbol).
mlir::AffineExpr extentExpr(mlir::Operation *in, mlir::RankedTensorType type, unsigned dim);

// Params by name; the verifier of a record has seen to it that they are there.
inline int64_t intParam(ComputeOp op, llvm::StringRef name) {
  return op.getParams().getAs<mlir::IntegerAttr>(name).getInt();
}
inline llvm::ArrayRef<int64_t> intsParam(ComputeOp op, llvm::StringRef name) {
  return op.getParams().getAs<mlir::DenseI64ArrayAttr>(name).asArrayRef();
}
inline double floatParam(ComputeOp op, llvm::StringRef name) {
  return op.getParams().getAs<mlir::FloatAttr>(name).getValueAsDouble();
}
inline llvm::StringRef textParam(ComputeOp op, llvm::StringRef name) {
  return op.getParams().getAs<mlir::StringAttr>(name).getValue();
}
inline llvm::ArrayRef<double> floatsParam(ComputeOp op, llvm::StringRef name) {
  return op.getParams().getAs<mlir::DenseF64ArrayAttr>(name).asArrayRef();
}
inline bool hasParam(ComputeOp op, llvm::StringRef name) { return bool(op.getParams().get(name)); }
inline mlir::RankedTensorType tensorOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

// The tables, a file for each family (ir/Graph/Operators/).
llvm::ArrayRef<Operator> mapOperators();      // element by element, with broadcasting
llvm::ArrayRef<Operator> codeOperators();     // numbers to codes of a scale, and back
llvm::ArrayRef<Operator> viewOperators();     // other places for the same elements
llvm::ArrayRef<Operator> reduceOperators();   // sums, extremes, norms along axes
llvm::ArrayRef<Operator> productOperators();  // products of matrices
llvm::ArrayRef<Operator> imageOperators();    // convolution, rearranged images
llvm::ArrayRef<Operator> overlapOperators();  // transposed and deformed convolution
llvm::ArrayRef<Operator> poolOperators();     // pooling
llvm::ArrayRef<Operator> resampleOperators(); // resizing, sampling, regions
llvm::ArrayRef<Operator> lookUpOperators();   // gather
llvm::ArrayRef<Operator> scatterOperators();
llvm::ArrayRef<Operator> orderOperators();   // sorting, counting, choosing
llvm::ArrayRef<Operator> algebraOperators(); // of whole matrices
llvm::ArrayRef<Operator> randomOperators();
llvm::ArrayRef<Operator> recurrentOperators();
llvm::ArrayRef<Operator> attentionOperators();
const Operator &linearAttentionOperator(); // of attentionOperators

} // namespace kiln::graph

#endif
