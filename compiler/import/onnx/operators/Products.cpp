// Products of matrices and Einstein's sums.
#include "compiler/import/onnx/operators/CodeProducts.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

// ---- Matrices ---------------------------------------------------------------------------------

static void importMatMul(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  if (const Codes *x = n.a.codesOf(n.inputs[0]), *matrix = n.a.codesOf(n.inputs[1]); x && matrix)
    if (Array y = multiplyCodes(n.a, Codes(*x), Codes(*matrix), false, {}))
      return n.results.push_back(y);
  n.results.push_back(n.a.matmul(n.inputs[0], n.inputs[1]));
}

/// alpha A B + beta C, A and B transposed where told.
static void importGemm(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Array left = n.inputs[0], right = n.inputs[1];
  if (left.rank() != 2 || right.rank() != 2)
    return n.fail("takes matrices");
  if (n.integer("transA", 0))
    left = a.transpose(left, {1, 0});
  Array product;
  bool transposed = n.integer("transB", 0) != 0;
  AffineExpr depth = right.shape[transposed ? 1 : 0], columns = right.shape[transposed ? 0 : 1];
  if (!a.sameOrRequired(left.shape[1], depth, "the depth of a product"))
    return n.fail(llvm::formatv("matrices of depth {0} and {1}", left.extent(1),
                                right.extent(transposed ? 1 : 0)));
  bool isPlain =
      !n.integer("transA", 0) && n.real("alpha", 1) == 1 && (!n.has(2) || n.real("beta", 1) == 1);
  if (const Codes *x = a.codesOf(left), *matrix = a.codesOf(right); x && matrix && isPlain)
    if (Array y = multiplyCodes(a, Codes(*x), Codes(*matrix), transposed,
                                n.has(2) ? n.inputs[2] : Array()))
      return n.results.push_back(y);
  bool packs = transposed && left.element.isF32() && !a.isConstant(left);
  Value weight = packs ? a.weightOf(right) : Value();
  if (weight) {
    left = a.reshapeUnchecked(left,
                              {left.shape[0], depth}); // as deep as the weight, where it is a dim
    RankedTensorType type = a.typeOf(left.element, {left.shape[0], columns});
    product = a.fromValue(
        graph::MatmulOp::create(a.b, a.location, type, a.valueOf(left), weight).getResult());
    product.shape = {left.shape[0], columns};
  } else {
    product = a.matmul(left, transposed ? a.transpose(right, {1, 0}) : right);
  }
  auto scaled = [&](const Array &x, double factor) {
    return factor == 1 ? x : a.mul(x, a.scalar(x.element, factor));
  };
  product = scaled(product, n.real("alpha", 1));
  double beta = n.real("beta", 1);
  if (n.has(2) && beta != 0)
    product = a.add(product, scaled(n.inputs[2], beta));
  n.results.push_back(product);
}

/// A zero point of rows or columns as it is broadcast to its matrix.
static Array zeroPoint(ArrayBuilder &a, const Array &point, bool ofRows) {
  if (point.rank() != 1)
    return point;
  if (point.extent(0) == 1)
    return a.reshape(point, {});
  return ofRows ? a.reshape(point, {point.shape[0], a.number(1)}) : point;
}

/// The product as one of codes: the left operand's zero point is one for all, and may be known only
/// while the model runs. Empty where it is no such.
static Array multiplyIntegers(NodeImport &n) {
  ArrayBuilder &a = n.a;
  Type i32 = a.b.getI32Type();
  auto optional = [&](size_t i) { return n.has(i) ? n.inputs[i] : Array(); };
  const Array &x = n.inputs[0], &right = n.inputs[1], zero = optional(2);
  auto zeros = zerosOf(a, optional(3));
  if (!areBytes(x) || x.rank() < 2 || right.rank() != 2 || !zeros || (zero && zero.count() != 1) ||
      !a.sameOrRequired(x.shape.back(), right.shape[0], "the depth of a matmul"))
    return {};
  // Codes of u8 that do not fit i8 less their own zero point fit less 128. The difference is the
  // same for all of a column: it is multiplied with sums of the rows.
  std::optional<CodeMatrix> matrix = CodeMatrix::ofMatrix(a, right, false, *zeros);
  bool isShifted = !matrix && right.element.isUnsignedInteger();
  if (isShifted)
    matrix = CodeMatrix::ofMatrix(a, right, false, int64_t(128));
  if (!matrix || (isShifted && zeros->size() != 1 && int64_t(zeros->size()) != matrix->rows()))
    return {};
  // What is known only now is written for every element, so that the product's kernel computes it.
  auto known = zerosOf(a, zero);
  Array sum = sumCodes(a, x, known ? known->front() : 0, *matrix, {}, nullptr, 1);
  auto vector = [&](const std::vector<int64_t> &values) {
    std::vector<double> numbers(values.begin(), values.end());
    return a.constant(i32, int64_t(numbers.size()), numbers);
  };
  if (!known) {
    Array point = a.compute("cast", a.reshape(zero, {}), i32, sum.shape);
    sum = a.sub(sum, a.mul(point, vector(matrix->sums)));
  }
  if (!isShifted)
    return sum;
  Array centred = a.cast(x, i32);
  if (zero)
    centred = a.sub(centred, a.cast(a.reshape(zero, {}), i32));
  Array ofRows = a.reduce("sum", centred, {x.rank() - 1}, /*keepDims=*/true);
  for (int64_t &shift : *zeros)
    shift = 128 - shift;
  return a.add(sum, a.mul(ofRows, vector(*zeros)));
}

static void importMatMulInteger(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Type i32 = a.b.getI32Type();
  if (Array y = multiplyIntegers(n))
    return n.results.push_back(y);
  auto centred = [&](size_t input) {
    Array x = a.cast(n.inputs[input], i32);
    if (!n.has(input + 2))
      return x;
    return a.sub(x, a.cast(zeroPoint(a, n.inputs[input + 2], input == 0), i32));
  };
  n.results.push_back(a.matmul(centred(0), centred(1)));
}

// ---- Einsum -----------------------------------------------------------------------------------

namespace {

/// An equation: labels of each operand's dims and of the result's. Letters stand for themselves,
/// dims of an ellipsis have labels from kEllipsis on, the last dim the first.
struct Equation {
  static constexpr int kEllipsis = 256;
  SmallVector<SmallVector<int>> operands;
  SmallVector<int> result;

  bool has(size_t operand, int label) const { return llvm::is_contained(operands[operand], label); }
};

class EinsumImport {
public:
  explicit EinsumImport(NodeImport &n) : n(n), a(n.a) {}
  void run();

private:
  bool parse();
  bool parseTerm(StringRef term, int64_t rank, SmallVectorImpl<int> &labels);
  AffineExpr sizeOf(int label) const;
  /// Labels that only one operand has, and the result has not, are summed at once.
  void sumAlone();
  Array asProduct();
  Array asSum();

  NodeImport &n;
  ArrayBuilder &a;
  SmallVector<Array> operands;
  Equation equation;
};

} // namespace

bool EinsumImport::parseTerm(StringRef term, int64_t rank, SmallVectorImpl<int> &labels) {
  int64_t letters = llvm::count_if(term, [](char c) { return llvm::isAlpha(c); });
  size_t dots = term.find("...");
  int64_t hidden = rank - letters;
  if (hidden < 0 || (dots == StringRef::npos && hidden != 0))
    return false;
  for (size_t i = 0; i < term.size();) {
    if (i == dots) {
      for (int64_t dim = hidden; dim-- > 0;)
        labels.push_back(Equation::kEllipsis + int(dim));
      i += 3;
    } else if (llvm::isAlpha(term[i])) {
      labels.push_back(term[i++]);
    } else {
      return false;
    }
  }
  return true;
}

bool EinsumImport::parse() {
  std::string text;
  for (char c : n.text("equation", ""))
    if (c != ' ')
      text += c;
  auto [left, right] = StringRef(text).split("->");
  bool isExplicit = StringRef(text).contains("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != operands.size())
    return false;
  int64_t hidden = 0;
  std::map<int, int> uses;
  for (auto [term, operand] : llvm::zip_equal(terms, operands)) {
    SmallVector<int> labels;
    if (!parseTerm(term, operand.rank(), labels))
      return false;
    for (int label : labels) {
      ++uses[label];
      hidden = std::max<int64_t>(hidden, label - Equation::kEllipsis + 1);
    }
    equation.operands.push_back(labels);
  }
  if (isExplicit) {
    int64_t letters = llvm::count_if(right, [](char c) { return llvm::isAlpha(c); });
    bool dots = right.contains("...");
    if (!parseTerm(right, letters + (dots ? hidden : 0), equation.result))
      return false;
    for (int label : equation.result)
      if (!uses.count(label) || llvm::count(equation.result, label) != 1)
        return false;
    return true;
  }
  for (int64_t dim = hidden; dim-- > 0;)
    equation.result.push_back(Equation::kEllipsis + int(dim));
  for (auto [label, count] : uses) // letters by the alphabet that appear once
    if (label < Equation::kEllipsis && count == 1)
      equation.result.push_back(label);
  return true;
}

/// The size that the dims of a label have, 1 only where all have.
AffineExpr EinsumImport::sizeOf(int label) const {
  AffineExpr size;
  for (size_t i = 0; i < operands.size(); ++i)
    for (auto [dim, other] : llvm::enumerate(equation.operands[i]))
      if (other == label && (!size || operands[i].extent(dim) != 1))
        size = operands[i].shape[dim];
  return size;
}

void EinsumImport::sumAlone() {
  for (size_t i = 0; i < operands.size(); ++i) {
    SmallVector<int64_t> axes;
    SmallVector<int> kept;
    for (auto [dim, label] : llvm::enumerate(equation.operands[i])) {
      bool alone = !llvm::is_contained(equation.result, label);
      for (size_t other = 0; other < operands.size(); ++other)
        alone = alone && (other == i || !equation.has(other, label));
      if (alone)
        axes.push_back(int64_t(dim));
      else
        kept.push_back(label);
    }
    if (axes.empty())
      continue;
    operands[i] = a.reduce("sum", operands[i], axes, /*keepDims=*/false);
    equation.operands[i] = kept;
  }
}

static Array permuted(ArrayBuilder &a, const Array &x, ArrayRef<int> from, ArrayRef<int> to) {
  SmallVector<int64_t> perm;
  for (int label : to)
    perm.push_back(llvm::find(from, label) - from.begin());
  return a.transpose(x, perm);
}

/// Two operands as a batch of matrix products; without labels to sum over, as a product of
/// elements.
Array EinsumImport::asProduct() {
  ArrayRef<int> left = equation.operands[0], right = equation.operands[1];
  SmallVector<int> batch, rows, columns, summed;
  for (int label : equation.result)
    (llvm::is_contained(left, label) ? llvm::is_contained(right, label) ? batch : rows : columns)
        .push_back(label);
  for (int label : left)
    if (!llvm::is_contained(equation.result, label))
      summed.push_back(label);
  auto join = [](ArrayRef<int> x, ArrayRef<int> y, ArrayRef<int> z) {
    SmallVector<int> all(x);
    llvm::append_range(all, y);
    llvm::append_range(all, z);
    return all;
  };
  auto sizes = [&](ArrayRef<int> labels) {
    return Shape(llvm::map_range(labels, [&](int label) { return sizeOf(label); }));
  };
  Array x = permuted(a, operands[0], left, join(batch, rows, summed));
  Array y = permuted(a, operands[1], right, join(batch, summed, columns));
  Shape outer = sizes(batch), shape = outer;
  llvm::append_range(shape, sizes(rows));
  llvm::append_range(shape, sizes(columns));
  auto matrix = [&](const Array &array, ArrayRef<int> first, ArrayRef<int> second) {
    Shape flat = outer;
    flat.push_back(a.product(sizes(first)));
    flat.push_back(a.product(sizes(second)));
    return a.reshape(array, flat);
  };
  Array product;
  if (summed.empty()) {
    product = a.mul(matrix(x, rows, {}), matrix(y, {}, columns));
  } else {
    product = a.matmul(matrix(x, rows, summed), matrix(y, summed, columns));
  }
  return permuted(a, a.reshape(product, shape), join(batch, rows, columns), equation.result);
}

Array EinsumImport::asSum() {
  llvm::MapVector<int, int64_t> numbers;
  for (int label : equation.result)
    numbers.insert({label, int64_t(numbers.size())});
  SmallVector<Attribute> labels;
  for (ArrayRef<int> operand : equation.operands) {
    SmallVector<int64_t> list;
    for (int label : operand) {
      numbers.insert({label, int64_t(numbers.size())});
      list.push_back(numbers[label]);
    }
    labels.push_back(a.attr(ArrayRef<int64_t>(list)));
  }
  Shape shape;
  for (int label : equation.result)
    shape.push_back(sizeOf(label));
  return a.compute("einsum", operands, operands[0].element, shape,
                   a.params({{"labels", a.b.getArrayAttr(labels)}}));
}

void EinsumImport::run() {
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (!n.input(i))
      return;
    operands.push_back(n.inputs[i]);
  }
  if (!parse())
    return n.fail("equation '" + n.text("equation", "") + "' does not fit the operands");
  bool simple = true; // no diagonals, nothing broadcast
  for (size_t i = 0; i < operands.size(); ++i)
    for (auto [dim, label] : llvm::enumerate(equation.operands[i])) {
      AffineExpr size = sizeOf(label), own = operands[i].shape[dim];
      bool single = operands[i].extent(dim) == 1;
      if (!single && !a.sameOrRequired(own, size, "a label of an equation"))
        return n.fail(
            llvm::formatv("dim {0} of operand {1} differs from others of its label", dim, i));
      simple = simple && a.same(own, size) && llvm::count(equation.operands[i], label) == 1;
    }
  if (simple)
    sumAlone();
  if (simple && operands.size() == 1)
    return n.results.push_back(permuted(a, operands[0], equation.operands[0], equation.result));
  n.results.push_back(simple && operands.size() == 2 ? asProduct() : asSum());
}

ArrayRef<OnnxOperator> kiln::onnxProducts() {
  static const OnnxOperator table[] = {
      {"", "MatMul", 1, importMatMul},
      {"", "Gemm", 1, importGemm},
      {"", "MatMulInteger", 10, importMatMulInteger},
      {"", "Einsum", 12, [](NodeImport &n) { EinsumImport(n).run(); }},
  };
  return table;
}
