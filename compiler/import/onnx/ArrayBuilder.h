// Builds graph ops on arrays with their shapes: what operators of ONNX are translated with.
//
// A shape is a list of expressions over the module's dims (the position of a dim is its symbol).
// Small tensors of integers that follow from shapes, and constants, are known while the model is
// imported: operators on them are evaluated at once and leave nothing in the graph.
#ifndef KILN_COMPILER_IMPORT_ONNX_ARRAYBUILDER_H
#define KILN_COMPILER_IMPORT_ONNX_ARRAYBUILDER_H

#include "compiler/artifact/SourceFiles.h"
#include "compiler/import/DimBounds.h"
#include "compiler/import/onnx/DimNames.h"
#include "compiler/import/onnx/OnnxModel.h"
#include "ir/Graph/Operators.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"

namespace kiln {

using Shape = llvm::SmallVector<mlir::AffineExpr>;

/// The elements of a small tensor that is known while the model is imported, row by row: whole
/// numbers and truth values (whatever the element type) as expressions of the dims, or real
/// numbers.
struct Contents {
  llvm::SmallVector<mlir::AffineExpr> integers;
  llvm::SmallVector<double> reals;
};

/// A constant of any size: its elements as the file has them (OnnxTensor).
using ConstantTensor = std::shared_ptr<const OnnxTensor>;

/// A tensor of the model being imported, or a list of them (an ONNX sequence or optional).
struct Array {
  mlir::Value value;  // null until an op needs it: ArrayBuilder::valueOf
  mlir::Type element; // i1, iN, uiN, fN, …
  Shape shape;
  std::shared_ptr<const Contents> contents; // known elements, or null
  ConstantTensor constant;                  // where the elements lie in the model, or null
  bool isList = false;                      // of `items`; nothing else counts then
  std::vector<Array> items;

  int64_t rank() const { return int64_t(shape.size()); }
  /// The size of a dim where it is fixed, else -1, also of one that is not there.
  int64_t extent(int64_t dim) const {
    if (dim < 0 || dim >= rank())
      return -1;
    auto fixed = llvm::dyn_cast<mlir::AffineConstantExpr>(shape[dim]);
    return fixed ? fixed.getValue() : -1;
  }
  bool hasFixedShape() const {
    return llvm::all_of(shape, llvm::IsaPred<mlir::AffineConstantExpr>);
  }
  /// Elements, where their number is fixed, else -1.
  int64_t count() const;
  bool isFloat() const { return llvm::isa<mlir::FloatType>(element); }
  explicit operator bool() const { return element || isList; }
};

/// Codes and what they stand for: (code - zero) * scale, with one scale and one zero, or one for
/// each index of `axis`.
struct Codes {
  Array codes;
  std::vector<double> scales;
  std::vector<int64_t> zeros;
  int64_t axis = 0;

  bool hasOneScale() const { return scales.size() == 1 && zeros.size() == 1; }
};

/// sum * factor + offset, held to [low, high], its dims permuted: what f32 follows from a product
/// of codes. Factors (one, or one for each index of the last dim) are positive.
struct ScaledSum {
  Array sum; // i32
  std::vector<double> factors;
  Array offset; // f32, broadcast to the sum; may be empty
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  llvm::SmallVector<int64_t> perm; // empty: as they are
};

class ArrayBuilder {
public:
  /// Ops are built at the end of `block`. Dims are declared in `module`, before its first function.
  /// Constants that the module's weights are read from are added to `kept`.
  ArrayBuilder(mlir::ModuleOp module, mlir::Block *block, const OnnxModel &model,
               std::vector<ConstantTensor> &kept);

  mlir::OpBuilder b;
  /// Where ops come from, for messages.
  mlir::Location location;

  // ---- Dims ----
  mlir::AffineExpr number(int64_t value) const {
    return mlir::getAffineConstantExpr(value, b.getContext());
  }
  Shape numbers(llvm::ArrayRef<int64_t> values) const {
    return llvm::map_to_vector(values, [&](int64_t v) { return number(v); });
  }
  /// A free dim; before anything derived is declared.
  mlir::AffineExpr declareDim(llvm::StringRef name, int64_t min, int64_t max);
  /// A dim that a graph.set_dims will give.
  mlir::AffineExpr declareComputedDim(llvm::StringRef name, int64_t min, int64_t max);
  /// The dim of that name of the model, or null.
  mlir::AffineExpr findDim(llvm::StringRef name) const;
  /// Dims by their names in the model, or in the part of it that is being translated.
  llvm::StringMap<mlir::AffineExpr> modelDims;
  /// Whether a size follows from a computed dim that is the `first`-th to be declared or a later
  /// one.
  bool dependsOnComputed(mlir::AffineExpr size, unsigned first = 0) const;
  /// What the caller of the compiler wants a dim to be within, or else `least` to `most`. `owner`
  /// says whose dim it is, for a message.
  DimBounds boundsOf(llvm::StringRef name, const llvm::Twine &owner, int64_t least = 1,
                     int64_t most = 4096);
  std::vector<DimBounds> wantedBounds;
  /// The dims that somebody asked about so far.
  std::vector<NamedDim> namedDims;
  /// Gives computed dims the elements of a vector of i64.
  void setDims(llvm::ArrayRef<mlir::AffineExpr> dims, const Array &values);
  /// Says that a size is never above `max`: holds a free dim to it that nobody gave bounds, so that
  /// what a model has tables for decides. Without effect on anything else.
  void limit(mlir::AffineExpr size, int64_t max);
  /// The larger of two sizes.
  mlir::AffineExpr largest(mlir::AffineExpr x, mlir::AffineExpr y);
  /// Least and greatest value of an expression within the bounds of the dims.
  std::pair<int64_t, int64_t> boundsOf(mlir::AffineExpr expr) const;
  mlir::AffineExpr simplify(mlir::AffineExpr expr) const;
  /// Whether two sizes are the same for all dims. sameOrRequired: where that cannot be told, the
  /// call will check it; false where they certainly differ.
  bool same(mlir::AffineExpr x, mlir::AffineExpr y) const { return simplify(x) == simplify(y); }
  bool sameOrRequired(mlir::AffineExpr x, mlir::AffineExpr y, const llvm::Twine &what);
  mlir::AffineExpr product(llvm::ArrayRef<mlir::AffineExpr> sizes) const;

  // ---- Constants ----
  Array constant(mlir::Type element, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<double> values);
  Array integers(llvm::ArrayRef<mlir::AffineExpr> values, mlir::Type element = {}); // rank 1, i64
  Array integer(mlir::AffineExpr value, mlir::Type element = {});                   // rank 0, i64
  Array scalar(mlir::Type element, double value);                                   // rank 0
  Array fromTensor(const ConstantTensor &tensor);
  /// A constant whose bytes are made here (row-major, an element as OnnxTensor has it).
  Array fromBytes(mlir::Type element, llvm::ArrayRef<int64_t> shape, std::vector<uint8_t> bytes,
                  const llvm::Twine &name);
  /// Constant elements of any size as doubles (exact but for 64-bit integers beyond 2^53); nullopt
  /// where they are not known, or depend on dims.
  std::optional<std::vector<double>> valuesOf(const Array &array) const;
  /// The same as integers; nullopt also for floats.
  std::optional<llvm::SmallVector<int64_t>> integersOf(const Array &array) const;
  /// Known elements as expressions, where they are integers; null otherwise.
  const llvm::SmallVector<mlir::AffineExpr> *expressionsOf(const Array &array) const;
  bool isConstant(const Array &array) const;

  // ---- Values ----
  /// The array as a value of the graph.
  mlir::Value valueOf(const Array &array);
  mlir::RankedTensorType typeOf(const Array &array);
  mlir::RankedTensorType typeOf(mlir::Type element, llvm::ArrayRef<mlir::AffineExpr> shape);
  /// An array that is a value of the graph; its shape is read from the value's type.
  Array fromValue(mlir::Value value);
  /// A constant float matrix [m, k] as a weight that may be quantized and packed: for graph.matmul,
  /// graph.embed, conv. `transpose`: the constant is [k, m]. Null where the array is no such
  /// constant.
  mlir::Value weightOf(const Array &matrix, bool transpose = false);

  /// An operator's results, by their types.
  llvm::SmallVector<Array> compute(llvm::StringRef kind, llvm::ArrayRef<Array> operands,
                                   llvm::ArrayRef<mlir::Type> elements,
                                   llvm::ArrayRef<Shape> shapes, mlir::DictionaryAttr params = {});
  Array compute(llvm::StringRef kind, llvm::ArrayRef<Array> operands, mlir::Type element,
                llvm::ArrayRef<mlir::AffineExpr> shape, mlir::DictionaryAttr params = {}) {
    return compute(kind, operands, llvm::ArrayRef<mlir::Type>(element),
                   llvm::ArrayRef<Shape>(Shape(shape)), params)[0];
  }
  /// A record of params: {{"axis", 1}, …}.
  using Param = std::pair<llvm::StringRef, mlir::Attribute>;
  mlir::DictionaryAttr params(llvm::ArrayRef<Param> entries) const;
  mlir::Attribute attr(int64_t value) const {
    return mlir::Builder(b.getContext()).getI64IntegerAttr(value);
  }
  mlir::Attribute attr(int value) const { return attr(int64_t(value)); }
  mlir::Attribute attr(double value) const {
    return mlir::Builder(b.getContext()).getF64FloatAttr(value);
  }
  mlir::Attribute attr(llvm::StringRef value) const {
    return mlir::Builder(b.getContext()).getStringAttr(value);
  }
  mlir::Attribute attr(const char *value) const { return attr(llvm::StringRef(value)); }
  mlir::Attribute attr(llvm::ArrayRef<int64_t> values) const {
    return mlir::Builder(b.getContext()).getDenseI64ArrayAttr(values);
  }

  // ---- Operators. Shapes are inferred; a mismatch is a problem, and the result is empty. ----
  /// A map operator with broadcasting; `element` is that of the result, by default of operand 0.
  Array map(llvm::StringRef kind, llvm::ArrayRef<Array> operands, mlir::Type element = {},
            mlir::DictionaryAttr params = {});
  Array cast(const Array &x, mlir::Type element);
  Array reshape(const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape);
  /// The same where the caller knows that the numbers of elements agree.
  Array reshapeUnchecked(const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape);
  Array transpose(const Array &x, llvm::ArrayRef<int64_t> perm);
  Array broadcast(const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape);
  /// Elements starts[i] + j * steps[i], j < sizes[i], along each dim.
  Array slice(const Array &x, llvm::ArrayRef<int64_t> starts,
              llvm::ArrayRef<mlir::AffineExpr> sizes, llvm::ArrayRef<int64_t> steps = {});
  /// The same from starts that are expressions, or a vector of i64 (inside the bounds).
  Array sliceAt(const Array &x, llvm::ArrayRef<mlir::AffineExpr> starts,
                llvm::ArrayRef<mlir::AffineExpr> sizes, llvm::ArrayRef<int64_t> steps = {});
  Array sliceAt(const Array &x, const Array &starts, llvm::ArrayRef<mlir::AffineExpr> sizes);
  Array concat(llvm::ArrayRef<Array> parts, int64_t axis);
  /// sum, mean, prod, max, min, …: the records of ir/Graph/Operators/Reduce.cpp.
  Array reduce(llvm::StringRef kind, const Array &x, llvm::ArrayRef<int64_t> axes, bool keepDims);
  /// numpy's matmul of two arrays of any rank >= 1.
  Array matmul(const Array &x, const Array &y);
  std::optional<Shape> broadcastShapes(llvm::ArrayRef<mlir::AffineExpr> x,
                                       llvm::ArrayRef<mlir::AffineExpr> y);

  // Arithmetic, for decompositions.
  Array add(const Array &x, const Array &y) { return map("add", {x, y}); }
  Array sub(const Array &x, const Array &y) { return map("sub", {x, y}); }
  Array mul(const Array &x, const Array &y) { return map("mul", {x, y}); }
  Array div(const Array &x, const Array &y) { return map("div", {x, y}); }
  Array unary(llvm::StringRef kind, const Array &x) { return map(kind, {x}); }

  // ---- Codes: integers that stand for numbers by a scale ----
  /// clamp(round(x * factor) + zero, low, high) of x in f32, as an integer type; `factor` is f32.
  Array quantized(const Array &x, const Array &factor, mlir::Type element, int64_t zero,
                  int64_t low, int64_t high);
  /// (codes - zero) * scale in f32; what it is made of is noted.
  Array dequantized(const Array &codes, double scale, int64_t zero);
  /// What an array is made of, where it is codes by scales that are numbers; else null.
  const Codes *codesOf(const Array &array) const;
  void noteCodes(const Array &array, Codes made);
  /// How an array follows from a product of codes, where no more than factors and bounds lie
  /// between; else null.
  const ScaledSum *scaledSumOf(const Array &array) const;
  void noteScaledSum(const Array &array, ScaledSum made);
  /// Codes as the weight of a product of them (conv): bytes [rows, columns] of i8.
  mlir::Value codeWeight(std::vector<uint8_t> bytes, int64_t rows, int64_t columns,
                         llvm::StringRef name);

  // ---- Problems ----
  /// Notes what is wrong with the model; `location` is named. Returns an empty array.
  Array fail(const llvm::Twine &message);
  std::vector<std::string> problems;
  bool failed() const { return !problems.empty(); }

private:
  struct Dim {
    std::string name;
    int64_t min, max;
    mlir::AffineMap value; // of a derived one
    bool computed;
  };
  mlir::FlatSymbolRefAttr nameOf(mlir::AffineExpr size);
  mlir::AffineExpr addDim(llvm::StringRef name, int64_t min, int64_t max, mlir::AffineMapAttr value,
                          bool computed);
  std::optional<Array> foldMap(llvm::StringRef kind, llvm::ArrayRef<Array> operands,
                               mlir::Type element, llvm::ArrayRef<mlir::AffineExpr> shape);
  Array rearranged(const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape,
                   llvm::function_ref<int64_t(llvm::ArrayRef<int64_t>)> source);
  Array view(llvm::StringRef kind, const Array &x, llvm::ArrayRef<mlir::AffineExpr> shape,
             mlir::DictionaryAttr params,
             llvm::function_ref<int64_t(llvm::ArrayRef<int64_t>)> source);
  /// What a map operator on an array with a scaled sum makes of that.
  void carryScaledSum(llvm::StringRef kind, llvm::ArrayRef<Array> operands, const Array &result);
  mlir::Value symbolicValue(const Array &array);
  mlir::Value constantValue(const Array &array);
  mlir::Value useWeight(const OnnxTensor &tensor, mlir::RankedTensorType type, bool transpose,
                        llvm::StringRef format);
  std::string freshName(llvm::StringRef wanted);

  mlir::ModuleOp module;
  const OnnxModel &model;
  std::vector<ConstantTensor> &kept;
  std::vector<Dim> dims;
  mlir::Operation *lastDim = nullptr; // new declarations follow it
  llvm::DenseMap<mlir::AffineExpr, mlir::FlatSymbolRefAttr> names;
  std::map<std::pair<const void *, const void *>, mlir::AffineExpr> maxima;
  llvm::StringMap<unsigned> usedNames;
  std::map<std::pair<const OnnxTensor *, std::string>, std::string> weights; // symbols
  llvm::DenseMap<const void *, Codes> codes; // of values, or of constants' tensors
  llvm::DenseMap<mlir::Value, ScaledSum> scaledSums;

public:
  /// Pairs of sizes that a call must find equal, with what to say otherwise.
  struct Requirement {
    mlir::AffineExpr left, right;
    std::string text;
  };
  std::vector<Requirement> requirements;
  MemorySources sources; // of the module's weights
  unsigned dimCount() const { return unsigned(dims.size()); }
};

} // namespace kiln

#endif
