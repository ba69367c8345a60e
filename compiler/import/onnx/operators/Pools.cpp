// Pooling, its inverse, and pooling of regions.
#include "compiler/import/onnx/NodeImport.h"
#include "compiler/import/onnx/operators/FixExtent.h"
#include "compiler/import/onnx/operators/ImageWindow.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

static void importMaxPool(NodeImport &n) {
  const Array &x = n.input(0);
  if (!x)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x);
  if (!window)
    return;
  ArrayBuilder &a = n.a;
  Shape shape = window->resultShape(x, x.shape[1]);
  SmallVector<Type> elements{x.element};
  SmallVector<Shape> shapes{shape};
  if (n.wants(1)) {
    elements.push_back(a.b.getI64Type());
    shapes.push_back(shape);
  }
  DictionaryAttr params =
      window->params(a, {{"column", a.attr(int64_t(n.integer("storage_order", 0) != 0))}});
  // The greatest code stands for the greatest number.
  if (const Codes *known = a.codesOf(x);
      known && known->hasOneScale() && known->scales[0] > 0 && !n.wants(1)) {
    Codes from = *known;
    Array codes =
        a.compute("max_pool", channelsLast(a, from.codes), from.codes.element, shape, params);
    return n.results.push_back(
        a.dequantized(channelsFirst(a, codes), from.scales[0], from.zeros[0]));
  }
  for (const Array &result : a.compute("max_pool", channelsLast(a, x), elements, shapes, params))
    n.results.push_back(channelsFirst(a, result));
}

static void addPool(NodeImport &n, StringRef kind, ArrayBuilder::Param param) {
  const Array &x = n.input(0);
  if (!x)
    return;
  std::optional<ImageWindow> window = ImageWindow::of(n, x);
  if (!window)
    return;
  Array result = n.a.compute(kind, channelsLast(n.a, x), x.element,
                             window->resultShape(x, x.shape[1]), window->params(n.a, param));
  n.results.push_back(channelsFirst(n.a, result));
}

static void importAveragePool(NodeImport &n) {
  addPool(n, "average_pool",
          {"count_padding", n.a.attr(int64_t(n.integer("count_include_pad", 0) != 0))});
}

static std::optional<int64_t> readNorm(NodeImport &n) {
  int64_t p = n.integer("p", 2);
  if (p >= 1 && p <= 64)
    return p;
  n.fail(llvm::formatv("p = {0} is not in 1 .. 64", p));
  return std::nullopt;
}

static void importLpPool(NodeImport &n) {
  if (auto p = readNorm(n))
    addPool(n, "lp_pool", {"p", n.a.attr(*p)});
}

/// A reduction of all spatial dims, channels last so that an image in that layout need not be
/// moved.
static Array reduceSpatial(NodeImport &n, StringRef kind, const Array &x) {
  ArrayBuilder &a = n.a;
  SmallVector<int64_t> axes;
  Shape shape{x.shape[0], x.shape[1]};
  for (int64_t dim = 1; dim + 1 < x.rank(); ++dim) {
    axes.push_back(dim);
    shape.push_back(a.number(1));
  }
  return a.reshape(a.reduce(kind, channelsLast(a, x), axes, /*keepDims=*/false), shape);
}

static void addGlobalPool(NodeImport &n, StringRef kind) {
  const Array &x = n.input(0);
  if (!x)
    return;
  if (x.rank() < 3)
    return n.fail("takes [N, C, spatial dims]");
  n.results.push_back(reduceSpatial(n, kind, x));
}

static void importGlobalLpPool(NodeImport &n) {
  Array x = n.input(0);
  std::optional<int64_t> p = readNorm(n);
  if (!x || !p)
    return;
  if (*p <= 2)
    return addGlobalPool(n, *p == 1 ? "l1" : "l2");
  ArrayBuilder &a = n.a;
  Array powers = a.map("pow", {a.unary("abs", x), a.scalar(x.element, double(*p))}, x.element);
  Array sum = reduceSpatial(n, "sum", powers);
  n.results.push_back(a.map("pow", {sum, a.scalar(x.element, 1.0 / double(*p))}, x.element));
}

/// The places are numbers in the image that pooling was made of; a larger output has zeros behind
/// it.
static void importMaxUnpool(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0], &places = n.inputs[1];
  std::optional<ImageWindow> window = TransposedWindow::of(n, x, n.integers("kernel_shape"));
  if (!window)
    return;
  Shape shape{x.shape[0], x.shape[1]};
  llvm::append_range(shape, window->positions);
  Array flat = a.reshape(x, a.product(x.shape));
  Array result = a.compute("scatter_flat", {flat, a.reshape(places, a.product(places.shape))},
                           x.element, a.product(shape));
  result = a.reshape(result, shape);
  if (n.has(2)) {
    std::optional<Shape> wanted;
    if (auto sizes = a.integersOf(n.inputs[2]))
      wanted = a.numbers(*sizes);
    else
      wanted = n.runtimeShape(0, n.sizesInput(2));
    if (!wanted || wanted->size() != shape.size())
      return n.fail("the shape of the output is not known");
    SmallVector<int64_t> none(shape.size(), 0);
    result = a.compute("pad", {result, a.scalar(x.element, 0)}, x.element, *wanted,
                       a.params({{"mode", a.attr(StringRef("constant"))},
                                 {"before", a.attr(ArrayRef<int64_t>(none))},
                                 {"pads_given", a.attr(int64_t(0))}}));
  }
  n.results.push_back(result);
}

static void importMaxRoiPool(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0], &rois = n.inputs[1];
  SmallVector<int64_t> size = n.integers("pooled_shape");
  if (x.rank() != 4 || rois.rank() != 2 || rois.extent(1) != 5 || size.size() != 2)
    return n.fail("takes [N, C, H, W], regions of 5 numbers and a pooled_shape of 2");
  ArrayBuilder &a = n.a;
  Shape shape{rois.shape[0], a.number(size[0]), a.number(size[1]), x.shape[1]};
  n.results.push_back(channelsFirst(
      a, a.compute("max_roi_pool", {channelsLast(a, x), rois}, x.element, shape,
                   a.params({{"spatial_scale", a.attr(n.real("spatial_scale", 1))}}))));
}

static void importRoiAlign(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  const Array &x = n.inputs[0];
  Array rois = n.inputs[1];
  ArrayBuilder &a = n.a;
  if (x.rank() != 4 || rois.rank() != 2 || !fixExtent(a, rois, 1, 4, "the numbers of a region"))
    return n.fail("takes [N, C, H, W] and regions of 4 numbers");
  // Before opset 16 coordinates were those of elements' corners.
  std::string mode =
      n.text("coordinate_transformation_mode", n.version < 16 ? "output_half_pixel" : "half_pixel");
  Shape shape{rois.shape[0], a.number(n.integer("output_height", 1)),
              a.number(n.integer("output_width", 1)), x.shape[1]};
  n.results.push_back(channelsFirst(
      a, a.compute("roi_align", {channelsLast(a, x), rois, n.inputs[2]}, x.element, shape,
                   a.params({{"spatial_scale", a.attr(n.real("spatial_scale", 1))},
                             {"sampling_ratio", a.attr(n.integer("sampling_ratio", 0))},
                             {"half_pixel", a.attr(int64_t(mode == "half_pixel"))},
                             {"mode", a.attr(StringRef(n.text("mode", "avg")))}}))));
}

ArrayRef<OnnxOperator> kiln::onnxPools() {
  static const OnnxOperator table[] = {
      {"", "MaxPool", 1, importMaxPool},
      {"", "AveragePool", 1, importAveragePool},
      {"", "LpPool", 2, importLpPool},
      {"", "GlobalAveragePool", 1, [](NodeImport &n) { addGlobalPool(n, "mean"); }},
      {"", "GlobalMaxPool", 1, [](NodeImport &n) { addGlobalPool(n, "max"); }},
      {"", "GlobalLpPool", 2, importGlobalLpPool},
      {"", "MaxUnpool", 9, importMaxUnpool},
      {"", "MaxRoiPool", 1, importMaxRoiPool},
      {"", "RoiAlign", 10, importRoiAlign},
  };
  return table;
}
