// Resizing and sampling of images.
//
// Element o of an axis lies at (o + c0) * c1 / c2 + c3 in the input; the ways of ONNX to relate
// coordinates differ in the numbers c alone, which are computed here, or where sizes or scales are
// known only then, while the model runs. An axis is resized at a time.
#include "compiler/import/onnx/NodeImport.h"
#include "compiler/import/onnx/operators/FixExtent.h"
#include "compiler/import/onnx/operators/ImageWindow.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Resize -----------------------------------------------------------------------------------

namespace {

/// A number that is known, or a vector of one f64 in the graph.
struct Number {
  std::optional<double> known;
  Array array;
};

/// What happens to one axis.
struct ResizedAxis {
  int64_t dim;
  AffineExpr size;   // of the result
  Number scale;      // size of the result by that of the input
  Number start, end; // of the part that is cropped, as parts of the input
};

class ResizeImport {
public:
  explicit ResizeImport(NodeImport &n) : n(n), a(n.a), f64(n.a.b.getF64Type()) {}
  void run(size_t scalesInput, size_t sizesInput, size_t roiInput);

private:
  Number number(double value) const { return {value, {}}; }
  Number ofSize(AffineExpr size) {
    if (auto fixed = dyn_cast<AffineConstantExpr>(size))
      return number(double(fixed.getValue()));
    return {std::nullopt, a.cast(a.integers(size), f64)};
  }
  Array arrayOf(const Number &x) { return x.known ? a.constant(f64, 1, *x.known) : x.array; }
  Number apply(StringRef kind, const Number &x, const Number &y);
  Number add(const Number &x, const Number &y) { return apply("add", x, y); }
  Number sub(const Number &x, const Number &y) { return apply("sub", x, y); }
  Number mul(const Number &x, const Number &y) { return apply("mul", x, y); }
  Number div(const Number &x, const Number &y) { return apply("div", x, y); }
  /// yes where x is 1, else no.
  Number whereOne(const Number &x, const Number &yes, const Number &no);
  /// Element i of a vector of the node's inputs.
  Number element(const Array &vector, int64_t i);

  bool readAxes();
  bool readScales(Array scales);
  bool readSizes(Array sizes);
  bool readPart(Array roi);
  AffineExpr scaled(AffineExpr size, double scale);
  bool isKept(const ResizedAxis &axis) const;
  Array placesOf(const ResizedAxis &axis);
  Array resize(const Array &x, const ResizedAxis &axis, int64_t dim);

  NodeImport &n;
  ArrayBuilder &a;
  Type f64;
  Array x;
  std::string mode, transformation;
  std::vector<ResizedAxis> axes;
};

} // namespace

Number ResizeImport::apply(StringRef kind, const Number &x, const Number &y) {
  if (x.known && y.known) {
    double left = *x.known, right = *y.known;
    return number(kind == "add"   ? left + right
                  : kind == "sub" ? left - right
                  : kind == "mul" ? left * right
                  : kind == "min" ? std::min(left, right)
                  : kind == "max" ? std::max(left, right)
                                  : left / right);
  }
  return {std::nullopt, a.map(kind, {arrayOf(x), arrayOf(y)})};
}

Number ResizeImport::whereOne(const Number &x, const Number &yes, const Number &no) {
  if (x.known)
    return *x.known == 1 ? yes : no;
  Array isOne = a.map("equal", {x.array, a.scalar(f64, 1)}, a.b.getI1Type());
  return {std::nullopt, a.map("where", {isOne, arrayOf(yes), arrayOf(no)}, f64)};
}

Number ResizeImport::element(const Array &vector, int64_t i) {
  if (auto values = a.valuesOf(vector))
    return number((*values)[i]);
  return {std::nullopt, a.cast(a.slice(vector, i, a.number(1)), f64)};
}

bool ResizeImport::readAxes() {
  SmallVector<int64_t> dims = n.integers("axes");
  if (dims.empty())
    dims = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  for (int64_t value : dims) {
    std::optional<int64_t> dim = n.axis(value, x.rank());
    if (!dim)
      return false;
    axes.push_back({*dim, x.shape[*dim], number(1), number(0), number(1)});
  }
  return true;
}

/// floor(size * scale), the scale as a fraction of small numbers where the size is not fixed.
AffineExpr ResizeImport::scaled(AffineExpr size, double scale) {
  if (auto fixed = dyn_cast<AffineConstantExpr>(size)) {
    double exact = std::floor(double(fixed.getValue()) * scale);
    return exact >= 0 && exact < 1e9 ? a.number(int64_t(exact)) : AffineExpr();
  }
  for (int64_t divisor = 1; divisor <= 64; ++divisor) {
    double times = scale * double(divisor);
    if (std::abs(times - std::round(times)) < 1e-6 * times && times < 1e6)
      return a.simplify((size * int64_t(std::round(times))).floorDiv(divisor));
  }
  return {};
}

bool ResizeImport::readScales(Array scales) {
  if (scales.rank() != 1 ||
      !fixExtent(a, scales, 0, int64_t(axes.size()), "the number of scales")) {
    n.fail(llvm::formatv("expected {0} scales", axes.size()));
    return false;
  }
  auto known = a.valuesOf(scales);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    axis.scale = element(scales, int64_t(i));
    if (!known)
      continue;
    if (!((*known)[i] > 0) || !(axis.size = scaled(x.shape[axis.dim], (*known)[i]))) {
      n.fail(llvm::formatv("scale {0} of axis {1} gives no size", (*known)[i], axis.dim));
      return false;
    }
  }
  if (known)
    return true;
  // The sizes are computed while the model runs, if the model does not tell them.
  SmallVector<Array> sizes;
  for (int64_t dim = 0; dim < x.rank(); ++dim) {
    Number size = ofSize(x.shape[dim]);
    for (const ResizedAxis &axis : axes)
      if (axis.dim == dim)
        size = {std::nullopt, a.unary("floor", arrayOf(mul(size, axis.scale)))};
    sizes.push_back(a.cast(arrayOf(size), a.b.getI64Type()));
  }
  std::optional<Shape> shape = n.runtimeShape(0, a.concat(sizes, 0));
  for (ResizedAxis &axis : axes)
    if (shape)
      axis.size = (*shape)[axis.dim];
  return shape.has_value();
}

bool ResizeImport::readSizes(Array sizes) {
  if (sizes.rank() != 1 || !fixExtent(a, sizes, 0, int64_t(axes.size()), "the number of sizes")) {
    n.fail(llvm::formatv("expected {0} sizes", axes.size()));
    return false;
  }
  const SmallVector<AffineExpr> *known = a.expressionsOf(sizes);
  SmallVector<Number> wanted;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    wanted.push_back(known ? ofSize((*known)[i]) : element(sizes, int64_t(i)));
    axis.scale = div(wanted.back(), ofSize(x.shape[axis.dim]));
  }
  std::string policy = n.text("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") { // one scale for all axes, the smallest or the largest
    Number best = axes.front().scale;
    for (const ResizedAxis &axis : ArrayRef(axes).drop_front())
      best = apply(policy == "not_larger" ? "min" : "max", best, axis.scale);
    if (known && !best.known) {
      n.fail("keep_aspect_ratio_policy needs fixed sizes");
      return false;
    }
    for (auto [axis, size] : llvm::zip(axes, wanted)) {
      axis.scale = best;
      size = add(mul(best, ofSize(x.shape[axis.dim])), number(0.5));
      size = size.known ? number(std::floor(*size.known))
                        : Number{std::nullopt, a.unary("floor", size.array)};
    }
  }
  if (known) {
    for (auto [axis, given, size] : llvm::zip(axes, *known, wanted))
      axis.size = policy == "stretch" ? given : a.number(int64_t(*size.known));
    return true;
  }
  SmallVector<Array> all;
  for (int64_t dim = 0; dim < x.rank(); ++dim) {
    Array size = a.integers(x.shape[dim]);
    for (auto [axis, given] : llvm::zip(axes, wanted))
      if (axis.dim == dim)
        size = a.cast(arrayOf(given), a.b.getI64Type());
    all.push_back(size);
  }
  std::optional<Shape> shape = n.runtimeShape(0, a.concat(all, 0));
  for (ResizedAxis &axis : axes)
    if (shape)
      axis.size = (*shape)[axis.dim];
  return shape.has_value();
}

bool ResizeImport::readPart(Array roi) {
  int64_t count = int64_t(axes.size());
  if (roi.rank() != 1 || !fixExtent(a, roi, 0, 2 * count, "the numbers of a roi")) {
    n.fail(llvm::formatv("expected a roi of {0} numbers", 2 * count));
    return false;
  }
  for (int64_t i = 0; i < count; ++i) {
    axes[i].start = element(roi, i);
    axes[i].end = element(roi, count + i);
  }
  return true;
}

/// Whether an axis stays as it is.
bool ResizeImport::isKept(const ResizedAxis &axis) const {
  if (!a.same(axis.size, x.shape[axis.dim]))
    return false;
  if (transformation == "tf_crop_and_resize")
    return axis.start.known && *axis.start.known == 0 && axis.end.known && *axis.end.known == 1;
  return transformation != "tf_half_pixel_for_nn" && (!axis.scale.known || *axis.scale.known == 1);
}

Array ResizeImport::placesOf(const ResizedAxis &axis) {
  Number in = ofSize(x.shape[axis.dim]), scale = axis.scale, one = number(1), zero = number(0);
  Number length = mul(scale, in); // of the result, not rounded
  Number last = sub(in, one), half = number(0.5), minusHalf = number(-0.5);
  Number c[5] = {half, one, scale, minusHalf, scale};
  auto set = [&](Number shift, Number times, Number by, Number plus) {
    c[0] = shift;
    c[1] = times;
    c[2] = by;
    c[3] = plus;
  };
  if (transformation == "align_corners") {
    set(zero, whereOne(length, zero, last), whereOne(length, one, sub(length, one)), zero);
  } else if (transformation == "asymmetric") {
    set(zero, one, scale, zero);
  } else if (transformation == "tf_half_pixel_for_nn") {
    set(half, one, scale, zero);
  } else if (transformation == "tf_crop_and_resize") {
    Number part = mul(sub(axis.end, axis.start), last), first = mul(axis.start, last);
    set(zero, whereOne(length, zero, part), whereOne(length, one, sub(length, one)),
        whereOne(length, add(mul(part, half), first), first));
  } else if (transformation == "pytorch_half_pixel") {
    set(half, whereOne(length, zero, one), scale, minusHalf);
  } else if (transformation == "half_pixel_symmetric") {
    Number adjustment = div(ofSize(axis.size), length);
    set(half, one, scale, sub(mul(mul(in, half), sub(one, adjustment)), half));
  } else if (transformation != "half_pixel") {
    n.fail("coordinate_transformation_mode " + transformation + " is not known");
  }
  if (llvm::all_of(c, [](const Number &x) { return x.known.has_value(); })) {
    double values[5];
    for (unsigned i = 0; i < 5; ++i)
      values[i] = *c[i].known;
    return a.constant(f64, 5, values);
  }
  SmallVector<Array> parts;
  for (const Number &part : c)
    parts.push_back(arrayOf(part));
  return a.concat(parts, 0);
}

Array ResizeImport::resize(const Array &image, const ResizedAxis &axis, int64_t dim) {
  Shape shape = image.shape;
  shape[dim] = axis.size;
  SmallVector<ArrayBuilder::Param> params{{"axis", a.attr(dim)}};
  if (transformation == "tf_crop_and_resize")
    params.push_back({"extrapolation", a.attr(n.real("extrapolation_value", 0))});
  std::string rounding = n.text("nearest_mode", n.version < 11 ? "floor" : "round_prefer_floor");
  if (mode == "nearest")
    params.push_back({"rounding", a.attr(StringRef(rounding))});
  else
    params.append({{"mode", a.attr(StringRef(mode))},
                   {"cubic_a", a.attr(n.real("cubic_coeff_a", -0.75))},
                   {"antialias", a.attr(n.integer("antialias", 0))},
                   {"exclude_outside", a.attr(n.integer("exclude_outside", 0))}});
  return a.compute(mode == "nearest" ? "resize_nearest" : "resize", {image, placesOf(axis)},
                   image.element, shape, a.params(params));
}

void ResizeImport::run(size_t scalesInput, size_t sizesInput, size_t roiInput) {
  x = n.input(0);
  if (!x)
    return;
  mode = n.text("mode", "nearest");
  if (mode == "bilinear" || mode == "trilinear")
    mode = "linear";
  if (mode != "nearest" && mode != "linear" && mode != "cubic")
    return n.fail("mode " + mode + " is not known");
  // Before opset 11 elements were points at their corners.
  transformation =
      n.version < 11 ? "asymmetric" : n.text("coordinate_transformation_mode", "half_pixel");
  if (!readAxes())
    return;
  auto isGiven = [&](size_t i) {
    return n.has(i) && (n.inputs[i].rank() != 1 || n.inputs[i].extent(0) != 0);
  };
  if (n.node.type == "Upsample" && n.version < 9) {
    const OnnxAttribute *scales = n.attribute("scales");
    if (!scales || scales->floats.empty())
      return n.fail("attribute scales is missing");
    if (!readScales(a.constant(f64, int64_t(scales->floats.size()), scales->floats)))
      return;
  } else if (isGiven(sizesInput)) {
    if (!readSizes(n.inputs[sizesInput]))
      return;
  } else if (!n.input(scalesInput) || !readScales(n.inputs[scalesInput])) {
    return;
  }
  if (transformation == "tf_crop_and_resize" &&
      (!n.input(roiInput) || !readPart(n.inputs[roiInput])))
    return;
  std::vector<ResizedAxis> changed;
  bool spatial = x.rank() > 2;
  for (const ResizedAxis &axis : axes) {
    if (isKept(axis))
      continue;
    changed.push_back(axis);
    spatial = spatial && axis.dim >= 2;
  }
  if (changed.empty())
    return n.results.push_back(x);
  Type element = x.element;
  Array image = x;
  if (mode != "nearest" && !image.isFloat())
    image = a.cast(image, a.b.getF32Type());
  if (spatial)
    image = channelsLast(a, image);
  for (const ResizedAxis &axis : changed)
    image = resize(image, axis, spatial ? axis.dim - 1 : axis.dim);
  if (spatial)
    image = channelsFirst(a, image);
  n.results.push_back(image.element == element ? image : a.cast(image, element));
}

static void importResize(NodeImport &n) {
  if (n.version < 11)
    return ResizeImport(n).run(1, 3, 2);
  ResizeImport(n).run(2, 3, 1);
}
static void importUpsample(NodeImport &n) { ResizeImport(n).run(1, 3, 2); }

// ---- Grids ------------------------------------------------------------------------------------

static void importGridSample(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &x = n.inputs[0];
  Array grid = n.inputs[1];
  if (x.rank() < 3 || x.rank() > 5 || grid.rank() != x.rank() ||
      !fixExtent(a, grid, grid.rank() - 1, x.rank() - 2, "the coordinates of a grid"))
    return n.fail("takes [N, C, spatial dims] and a grid with a coordinate for each of them");
  std::string mode = n.text("mode", n.version < 20 ? "bilinear" : "linear");
  mode = mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode;
  Shape shape{x.shape[0]};
  llvm::append_range(shape, ArrayRef(grid.shape).slice(1, grid.rank() - 2));
  shape.push_back(x.shape[1]);
  n.results.push_back(channelsFirst(
      a, a.compute("grid_sample", {channelsLast(a, x), grid}, x.element, shape,
                   a.params({{"mode", a.attr(StringRef(mode))},
                             {"padding", a.attr(StringRef(n.text("padding_mode", "zeros")))},
                             {"align_corners", a.attr(n.integer("align_corners", 0))}}))));
}

/// theta [N, d, d + 1] applied to the places -1 .. 1 of an image of the given size.
static void importAffineGrid(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  const Array &theta = n.inputs[0], &size = n.inputs[1];
  int64_t spatial = theta.rank() == 3 ? theta.extent(1) : -1;
  if (spatial < 1 || theta.extent(2) != spatial + 1 || size.rank() != 1 ||
      size.extent(0) != spatial + 2)
    return n.fail("takes [N, d, d + 1] and the sizes of [N, C, spatial dims]");
  Shape shape{theta.shape[0]};
  if (const SmallVector<AffineExpr> *known = a.expressionsOf(size)) {
    llvm::append_range(shape, ArrayRef(*known).drop_front(2));
    shape.push_back(a.number(spatial));
  } else {
    SmallVector<Array> sizes{a.integers(theta.shape[0]),
                             a.cast(a.slice(size, 2, a.number(spatial)), a.b.getI64Type()),
                             a.integers(a.number(spatial))};
    std::optional<Shape> declared = n.runtimeShape(0, a.concat(sizes, 0));
    if (!declared)
      return;
    shape = *declared;
  }
  Type type = theta.element;
  bool corners = n.integer("align_corners", 0) != 0;
  auto column = [&](int64_t i) {
    Array part = a.slice(theta, {0, 0, i}, {theta.shape[0], theta.shape[1], a.number(1)});
    Shape broadcast(spatial + 2, a.number(1));
    broadcast.front() = theta.shape[0];
    broadcast.back() = theta.shape[1];
    return a.reshape(part, broadcast);
  };
  Array result = column(spatial);
  for (int64_t i = 0; i < spatial; ++i) { // x, y, z: the last dim first
    int64_t dim = spatial - i;
    AffineExpr extent = shape[dim];
    Array place = a.cast(
        a.compute("iota", {}, a.b.getI64Type(), extent, a.params({{"axis", a.attr(int64_t(0))}})),
        type);
    Array count = a.cast(a.integer(extent), type), one = a.scalar(type, 1);
    if (corners) { // one place alone lies at -1
      Array steps = a.map("max", {a.sub(count, one), one});
      place = a.div(a.mul(place, a.scalar(type, 2)), steps);
    } else {
      place = a.div(a.add(a.mul(place, a.scalar(type, 2)), one), count);
    }
    place = a.sub(place, one);
    Shape broadcast(spatial + 2, a.number(1));
    broadcast[dim] = extent;
    result = a.add(a.mul(column(i), a.reshape(place, broadcast)), result);
  }
  n.results.push_back(result);
}

ArrayRef<OnnxOperator> kiln::onnxResampling() {
  static const OnnxOperator table[] = {
      {"", "Resize", 10, importResize},
      {"", "Upsample", 7, importUpsample},
      {"", "GridSample", 16, importGridSample},
      {"", "AffineGrid", 20, importAffineGrid},
  };
  return table;
}
