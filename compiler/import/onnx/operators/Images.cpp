// Convolution in its forms, and images rearranged.
//
// The graph's images are channels last, and a kernel is a matrix with a row for each output
// channel: its taps one behind the other, each with its input channels. Kernels that are constant
// become such a matrix here; others are rearranged while the model runs.
#include "compiler/import/onnx/operators/CodeProducts.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Kernels ----------------------------------------------------------------------------------

/// [M, C/g, taps...] as [M, taps * C/g].
static Array kernelMatrix(ArrayBuilder &a, const Array &kernel) {
  Array last = channelsLast(a, kernel);
  if (a.failed())
    return {};
  return a.reshape(last, {last.shape[0], a.product(ArrayRef(last.shape).drop_front())});
}

/// [C, M/g, taps...], as transposed convolutions have it, as [M, taps * C/g].
static Array transposedMatrix(ArrayBuilder &a, const Array &kernel, int64_t groups) {
  AffineExpr depth = a.simplify(kernel.shape[0].floorDiv(groups)), outputs = kernel.shape[1];
  Shape split{a.number(groups), depth, outputs};
  llvm::append_range(split, ArrayRef(kernel.shape).drop_front(2));
  SmallVector<int64_t> perm{0, 2};
  for (int64_t dim = 3; dim < int64_t(split.size()); ++dim)
    perm.push_back(dim);
  perm.push_back(1);
  Array moved = a.transpose(a.reshape(kernel, split), perm);
  AffineExpr columns = a.product(ArrayRef(moved.shape).drop_front(2));
  return a.reshape(moved, {a.simplify(outputs * groups), columns});
}

// ---- Convolution ------------------------------------------------------------------------------

/// The only node that reads a value of the graph, if nothing else does.
static const OnnxNode *onlyReader(const OnnxGraph &graph, StringRef name) {
  const OnnxNode *reader = nullptr;
  for (const OnnxValue &output : graph.outputs)
    if (output.name == name)
      return nullptr;
  for (const OnnxNode &node : graph.nodes) {
    for (const OnnxAttribute &attribute : node.attributes)
      if (attribute.graph && llvm::is_contained(attribute.graph->captures, name))
        return nullptr;
    for (const std::string &input : node.inputs)
      if (name == input) {
        if (reader)
          return nullptr;
        reader = &node;
      }
  }
  return reader;
}

const OnnxNode *kiln::findFoldedNorm(const GraphImport &import, const OnnxNode &node) {
  const OnnxGraph &graph = import.graph;
  // Initializers of this graph, of f32 and of one dim as long as there are channels.
  auto find = [&](const std::string &name) -> const OnnxTensor * {
    auto found = graph.initializers.find(name);
    return found != graph.initializers.end() && found->second->type == OnnxType::Float
               ? found->second.get()
               : nullptr;
  };
  if (node.type != "Conv" || !node.domain.empty() || node.inputs.size() < 2 || node.outputs.empty())
    return nullptr;
  const OnnxTensor *kernel = find(node.inputs[1]);
  if (!kernel || kernel->dims.empty())
    return nullptr;
  auto isPerChannel = [&](const std::string &name) {
    const OnnxTensor *tensor = find(name);
    return tensor && tensor->dims.size() == 1 && tensor->dims[0] == kernel->dims[0];
  };
  if (node.inputs.size() > 2 && !node.inputs[2].empty() && !isPerChannel(node.inputs[2]))
    return nullptr;
  const OnnxNode *reader = onlyReader(graph, node.outputs[0]);
  if (!reader || reader->type != "BatchNormalization" || !reader->domain.empty() ||
      reader->inputs.size() != 5 || reader->inputs[0] != node.outputs[0] ||
      !llvm::all_of(ArrayRef(reader->inputs).drop_front(), isPerChannel))
    return nullptr;
  for (const OnnxAttribute &attribute : reader->attributes)
    if (attribute.name == "training_mode" && attribute.i)
      return nullptr;
  for (size_t i = 1; i < reader->outputs.size(); ++i)
    if (!reader->outputs[i].empty())
      return nullptr;
  return reader;
}

namespace {

/// A batch normalization behind a convolution, as a factor and a summand of each channel.
struct FoldedNorm {
  std::vector<double> factors, summands;
};

} // namespace

/// The norm that is to be part of a node's weights.
static std::optional<FoldedNorm> findNorm(NodeImport &n, int64_t channels) {
  const OnnxNode *reader = findFoldedNorm(n.graph, n.node);
  if (!reader)
    return std::nullopt;
  std::vector<double> values[4];
  for (unsigned i = 0; i < 4; ++i) {
    auto known = n.a.valuesOf(*n.graph.find(reader->inputs[i + 1]));
    if (!known || int64_t(known->size()) != channels)
      return std::nullopt;
    values[i] = std::move(*known);
  }
  FoldedNorm folded;
  double eps = NodeImport(n.graph, n.a, *reader, n.version).real("epsilon", 1e-5);
  for (int64_t i = 0; i < channels; ++i) {
    folded.factors.push_back(values[0][i] / std::sqrt(values[3][i] + eps));
    folded.summands.push_back(values[1][i] - values[2][i] * folded.factors.back());
  }
  return folded;
}

static std::vector<uint8_t> floatBytes(ArrayRef<double> values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  for (auto [i, value] : llvm::enumerate(values)) {
    float narrow = float(value);
    std::memcpy(bytes.data() + i * sizeof(float), &narrow, sizeof(float));
  }
  return bytes;
}

/// Multiplies a constant matrix's rows and adds to the bias, so that the norm is gone.
static void fold(ArrayBuilder &a, const FoldedNorm &norm, std::vector<double> weights,
                 Array &matrix, Array &bias) {
  size_t columns = weights.size() / norm.factors.size();
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] *= norm.factors[i / columns];
  SmallVector<int64_t> shape{int64_t(norm.factors.size()), int64_t(columns)};
  std::string name = matrix.constant ? matrix.constant->name : std::string("kernel");
  matrix = a.fromBytes(matrix.element, shape, floatBytes(weights), name);
  std::vector<double> summands = norm.summands;
  if (bias)
    for (auto [summand, own, factor] : llvm::zip(summands, *a.valuesOf(bias), norm.factors))
      summand += own * factor;
  bias = a.fromBytes(matrix.element, shape[0], floatBytes(summands), name + ".bias");
}

static void importConv(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0], kernel = n.inputs[1];
  std::optional<int64_t> groups = fitKernel(n, x, kernel, false);
  if (!groups)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x, extentsOf(kernel));
  if (!window)
    return;
  Array bias = n.has(2) ? n.inputs[2] : Array();
  if (const Codes *image = a.codesOf(x), *codes = a.codesOf(kernel); image && codes)
    if (Array y = convolveCodes(a, Codes(*image), Codes(*codes), bias, *window, *groups))
      return n.results.push_back(y);
  Array matrix = kernelMatrix(a, kernel);
  if (findFoldedNorm(n.graph, n.node)) {
    auto norm = findNorm(n, kernel.extent(0));
    auto weights = a.valuesOf(matrix);
    if (!norm || !weights)
      return n.fail("the kernel, or the norm behind it, cannot be read");
    fold(a, *norm, std::move(*weights), matrix, bias);
  }
  if (Value weight = a.weightOf(matrix)) {
    matrix.value = weight;
    matrix.contents = nullptr;
    matrix.constant = nullptr;
  }
  SmallVector<Array> operands{channelsLast(a, x), matrix};
  // A bias that is the same for all channels is a number: mostly none at all.
  std::optional<double> same;
  if (auto values = bias ? a.valuesOf(bias) : std::nullopt; values && !values->empty())
    if (llvm::all_equal(*values))
      same = values->front();
  if (bias && !same)
    operands.push_back(bias);
  Array y = a.compute("conv", operands, x.element, window->resultShape(x, kernel.shape[0]),
                      window->params(a, {{"groups", a.attr(*groups)}}));
  if (same && *same != 0)
    y = a.add(y, a.scalar(y.element, *same));
  n.results.push_back(channelsFirst(a, y));
}

/// Integers less their zero points, as i32; padding is what the zero point stands for.
static void importConvInteger(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Type i32 = a.b.getI32Type();
  Array x = n.inputs[0], kernel = n.inputs[1];
  std::optional<int64_t> groups = fitKernel(n, x, kernel, false);
  if (!groups)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x, extentsOf(kernel));
  if (!window)
    return;
  auto optional = [&](size_t i) { return n.has(i) ? n.inputs[i] : Array(); };
  auto zeros = zerosOf(a, optional(2)), weightZeros = zerosOf(a, optional(3));
  if (areBytes(x) && zeros && zeros->size() == 1 && weightZeros)
    if (auto packed = CodeMatrix::ofKernel(a, kernel, *weightZeros))
      return n.results.push_back(
          channelsFirst(a, sumCodes(a, x, zeros->front(), *packed, {}, &*window, *groups)));
  auto centred = [&](const Array &value, size_t zero) {
    Array wide = a.cast(value, i32);
    if (!n.has(zero))
      return wide;
    Array point = a.cast(n.inputs[zero], i32);
    if (point.rank() == 1) { // of each row of the kernel
      Shape shape(value.rank(), a.number(1));
      shape[0] = point.shape[0];
      point = a.reshape(point, shape);
    }
    return a.sub(wide, point);
  };
  Array image = channelsLast(a, centred(x, 2)), matrix = kernelMatrix(a, centred(kernel, 3));
  n.results.push_back(channelsFirst(
      a, a.compute("conv", {image, matrix}, i32, window->resultShape(x, kernel.shape[0]),
                   window->params(a, {{"groups", a.attr(*groups)}}))));
}

static void importConvTranspose(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0], kernel = n.inputs[1];
  std::optional<int64_t> groups = fitKernel(n, x, kernel, true);
  if (!groups)
    return;
  std::optional<TransposedWindow> window = TransposedWindow::of(n, x, extentsOf(kernel));
  if (!window)
    return;
  Array matrix = transposedMatrix(a, kernel, *groups);
  SmallVector<Array> operands{channelsLast(a, x), matrix};
  if (n.has(2))
    operands.push_back(n.inputs[2]);
  n.results.push_back(channelsFirst(
      a, a.compute("conv_transpose", operands, x.element, window->resultShape(x, matrix.shape[0]),
                   window->params(a, {{"groups", a.attr(*groups)}}))));
}

static void importDeformConv(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0], kernel = n.inputs[1];
  if (x.rank() != 4 || kernel.rank() != 4)
    return n.fail("takes [N, C, H, W] and a kernel of 4 dims");
  std::optional<int64_t> groups = fitKernel(n, x, kernel, false);
  if (!groups)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x, extentsOf(kernel));
  if (!window)
    return;
  int64_t parts = n.integer("offset_group", 1);
  if (parts < 1 || x.extent(1) % parts)
    return n.fail(llvm::formatv("{0} groups of offsets for {1} channels", parts, x.extent(1)));
  auto fits = [&](const Array &field, int64_t perTap) {
    AffineExpr channels = a.number(parts * kernel.extent(2) * kernel.extent(3) * perTap);
    Shape expected{x.shape[0], channels, window->positions[0], window->positions[1]};
    if (field.rank() != 4)
      return false;
    return llvm::all_of(llvm::zip(field.shape, expected), [&](auto pair) {
      return a.sameOrRequired(std::get<0>(pair), std::get<1>(pair), "offsets of a convolution");
    });
  };
  if (!fits(n.inputs[2], 2) || (n.has(4) && !fits(n.inputs[4], 1)))
    return n.fail("offsets or mask have another shape than the result and its taps");
  SmallVector<Array> operands{x, kernel, n.inputs[2]};
  int64_t mask = -1, bias = -1;
  if (n.has(4)) {
    mask = int64_t(operands.size());
    operands.push_back(n.inputs[4]);
  }
  if (n.has(3)) {
    bias = int64_t(operands.size());
    operands.push_back(n.inputs[3]);
  }
  Shape shape{x.shape[0], kernel.shape[0], window->positions[0], window->positions[1]};
  n.results.push_back(a.compute("deform_conv", operands, x.element, shape,
                                window->params(a, {{"groups", a.attr(*groups)},
                                                   {"offset_groups", a.attr(parts)},
                                                   {"mask", a.attr(mask)},
                                                   {"bias", a.attr(bias)}})));
}

/// A convolution of each channel [N, C, length] with the last elements before it: those of the
/// state, or zeros. Outputs: the result, and the elements before what will come next.
static void importCausalConv(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0], &kernel = n.inputs[1];
  if (x.rank() != 3 || kernel.rank() != 3 || x.extent(1) < 1 || kernel.extent(1) != 1 ||
      kernel.extent(0) != x.extent(1) || kernel.extent(2) < 1)
    return n.fail("takes [N, C, length] and a kernel [C, 1, taps]");
  int64_t before = kernel.extent(2) - 1;
  Shape padded{x.shape[0], x.shape[1], a.number(before)};
  Array state = n.has(3) ? n.inputs[3] : a.broadcast(a.scalar(x.element, 0), padded);
  Array all = before ? a.concat({state, x}, 2) : x;
  ImageWindow window;
  window.kernel = {before + 1};
  window.strides = window.dilations = {1};
  window.padsBegin = window.padsEnd = {0};
  window.positions = {x.shape[2]};
  SmallVector<Array> operands{channelsLast(a, all), kernelMatrix(a, kernel)};
  if (n.has(2))
    operands.push_back(n.inputs[2]);
  Array y = a.compute("conv", operands, x.element, window.resultShape(x, x.shape[1]),
                      window.params(a, {{"groups", a.attr(x.extent(1))}}));
  std::string activation = n.text("activation", "none");
  if (activation == "silu" || activation == "swish")
    y = a.map("silu", y, {}, a.params({{"alpha", a.attr(1.0)}}));
  else if (activation != "none")
    return n.fail("activation " + activation + " is not known");
  n.results.push_back(channelsFirst(a, y));
  n.results.push_back(a.sliceAt(all, {a.number(0), a.number(0), x.shape[2]}, padded));
}

// ---- Rearranging ------------------------------------------------------------------------------

/// The image's and the window's sizes may be known only while the model runs.
static void importCol2Im(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0];
  int64_t spatial = n.inputs[1].rank() == 1 ? n.inputs[1].extent(0) : -1;
  if (x.rank() != 3 || spatial < 1 || n.inputs[2].rank() != 1 || n.inputs[2].extent(0) != spatial)
    return n.fail("takes columns of 3 dims, and the sizes of an image and a window");
  std::optional<Shape> shape;
  auto image = a.integersOf(n.inputs[1]), window = a.integersOf(n.inputs[2]);
  if (image && window) {
    int64_t taps = 1;
    for (int64_t extent : *window)
      if (extent < 1 || llvm::MulOverflow(taps, extent, taps))
        return n.fail("the window has no size");
    shape = Shape{x.shape[0], a.simplify(x.shape[1].floorDiv(taps))};
    llvm::append_range(*shape, a.numbers(*image));
  } else {
    shape = n.declaredShape(0);
    if (!shape || int64_t(shape->size()) != spatial + 2)
      return n.fail("the shape of the output is not known");
  }
  auto list = [&](StringRef name, int64_t count, int64_t otherwise) {
    SmallVector<int64_t> values = n.integers(name);
    if (values.empty())
      values.assign(count, otherwise);
    return values;
  };
  SmallVector<int64_t> pads = list("pads", 2 * spatial, 0), strides = list("strides", spatial, 1),
                       dilations = list("dilations", spatial, 1);
  if (int64_t(pads.size()) != 2 * spatial || int64_t(strides.size()) != spatial ||
      int64_t(dilations.size()) != spatial)
    return n.fail("pads, strides or dilations do not have the window's dims");
  n.results.push_back(
      a.compute("col2im", {x, n.inputs[1], n.inputs[2]}, x.element, *shape,
                a.params({{"strides", a.attr(ArrayRef<int64_t>(strides))},
                          {"dilations", a.attr(ArrayRef<int64_t>(dilations))},
                          {"pads_begin", a.attr(ArrayRef<int64_t>(pads).take_front(spatial))},
                          {"pads_end", a.attr(ArrayRef<int64_t>(pads).drop_front(spatial))}})));
}

static void importDepthToSpace(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  int64_t block = n.integer("blocksize", 0);
  if (x.rank() != 4 || block < 1 || block > 4096)
    return n.fail("takes [N, C, H, W] and a positive blocksize");
  AffineExpr b = a.number(block), depth = a.simplify(x.shape[1].floorDiv(block * block));
  bool rowsFirst = n.text("mode", "DCR") == "DCR";
  Shape split = rowsFirst ? Shape{x.shape[0], b, b, depth, x.shape[2], x.shape[3]}
                          : Shape{x.shape[0], depth, b, b, x.shape[2], x.shape[3]};
  SmallVector<int64_t> perm =
      rowsFirst ? SmallVector<int64_t>{0, 3, 4, 1, 5, 2} : SmallVector<int64_t>{0, 1, 4, 2, 5, 3};
  n.results.push_back(a.reshape(
      a.transpose(a.reshape(x, split), perm),
      {x.shape[0], depth, a.simplify(x.shape[2] * block), a.simplify(x.shape[3] * block)}));
}

static void importSpaceToDepth(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  ArrayBuilder &a = n.a;
  int64_t block = n.integer("blocksize", 0);
  if (x.rank() != 4 || block < 1 || block > 4096)
    return n.fail("takes [N, C, H, W] and a positive blocksize");
  AffineExpr b = a.number(block), rows = a.simplify(x.shape[2].floorDiv(block)),
             columns = a.simplify(x.shape[3].floorDiv(block));
  Array split = a.reshape(x, {x.shape[0], x.shape[1], rows, b, columns, b});
  n.results.push_back(
      a.reshape(a.transpose(split, {0, 3, 5, 1, 2, 4}),
                {x.shape[0], a.simplify(x.shape[1] * (block * block)), rows, columns}));
}

ArrayRef<OnnxOperator> kiln::onnxImages() {
  static const OnnxOperator table[] = {
      {"", "Conv", 1, importConv},
      {"", "ConvInteger", 10, importConvInteger},
      {"", "ConvTranspose", 1, importConvTranspose},
      {"", "DeformConv", 19, importDeformConv},
      {"", "CausalConvWithState", 1, importCausalConv},
      {"", "Col2Im", 18, importCol2Im},
      {"", "DepthToSpace", 1, importDepthToSpace},
      {"", "SpaceToDepth", 1, importSpaceToDepth},
  };
  return table;
}
