// Padding and positions of windows: ONNX gives them as numbers, or by a rule (auto_pad).
#include "compiler/import/onnx/operators/ImageWindow.h"
#include "compiler/import/onnx/operators/FixExtent.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

/// What an attribute of a window may be at most, so that products of a few stay in range.
static constexpr int64_t kMost = 1 << 24;

Array kiln::channelsLast(ArrayBuilder &a, const Array &x) {
  SmallVector<int64_t> perm{0};
  for (int64_t dim = 2; dim < x.rank(); ++dim)
    perm.push_back(dim);
  perm.push_back(1);
  return a.transpose(x, perm);
}

Array kiln::channelsFirst(ArrayBuilder &a, const Array &x) {
  SmallVector<int64_t> perm{0, x.rank() - 1};
  for (int64_t dim = 1; dim + 1 < x.rank(); ++dim)
    perm.push_back(dim);
  return a.transpose(x, perm);
}

std::optional<int64_t> kiln::fitKernel(NodeImport &n, Array &x, Array &kernel, bool transposed) {
  ArrayBuilder &a = n.a;
  int64_t groups = n.integer("group", 1);
  if (kernel.rank() < 3 || x.rank() != kernel.rank() || groups < 1 || groups > kMost) {
    n.fail(llvm::formatv("an image of {0} dims, a kernel of {1}, {2} groups", x.rank(),
                         kernel.rank(), groups));
    return std::nullopt;
  }
  SmallVector<int64_t> extents = extentsOf(kernel), told = n.integers("kernel_shape", extents);
  bool fits = told.size() == extents.size() && x.extent(1) != 0 && kernel.extent(0) != 0;
  for (int64_t dim = 0; fits && dim < int64_t(told.size()); ++dim)
    fits = told[dim] > 0 && fixExtent(a, kernel, dim + 2, told[dim], "the kernel's shape");
  if (!fits) {
    n.fail("the kernel's shape is not fixed, or not kernel_shape");
    return std::nullopt;
  }
  // Whichever is fixed, of the channels of the image and what the kernel has of them, tells the
  // other.
  int64_t own = transposed ? 0 : 1, factor = transposed ? 1 : groups;
  int64_t channels = x.extent(1), depth = kernel.extent(own);
  if (channels < 0 && depth > 0)
    fits = fixExtent(a, x, 1, depth * factor, "the channels of an image");
  else if (channels > 0 && depth < 0)
    fits = channels % factor == 0 &&
           fixExtent(a, kernel, own, channels / factor, "the channels of a kernel");
  AffineExpr rows = kernel.shape[0];
  fits = fits &&
         a.sameOrRequired(x.shape[1], a.simplify(kernel.shape[own] * factor),
                          "the channels of image and kernel") &&
         a.sameOrRequired(rows, a.simplify(rows.floorDiv(groups) * groups),
                          "the rows of a kernel, a multiple of its groups");
  if (fits)
    return groups;
  n.fail(llvm::formatv("{0} groups of {1} channels with a kernel of {2} x {3}", groups, channels,
                       kernel.extent(0), kernel.extent(1)));
  return std::nullopt;
}

SmallVector<int64_t> kiln::extentsOf(const Array &kernel) {
  SmallVector<int64_t> extents;
  for (int64_t dim = 2; dim < kernel.rank(); ++dim)
    extents.push_back(kernel.extent(dim));
  return extents;
}

bool ImageWindow::readAttributes(NodeImport &n, const Array &x, ArrayRef<int64_t> given) {
  if (x.rank() < 3) {
    n.fail(llvm::formatv("takes [N, C, spatial dims], found {0} dims", x.rank()));
    return false;
  }
  size_t count = size_t(x.rank()) - 2;
  auto read = [&](StringRef name, SmallVectorImpl<int64_t> &values, size_t wanted, int64_t least,
                  int64_t otherwise) {
    values = n.integers(name);
    if (values.empty())
      values.assign(wanted, otherwise);
    if (values.size() == wanted &&
        llvm::all_of(values, [&](int64_t v) { return v >= least && v <= kMost; }))
      return true;
    n.fail(llvm::formatv("{0}: expected {1} integers from {2} to {3}", name, wanted, least, kMost));
    return false;
  };
  SmallVector<int64_t> pads;
  if (!read("strides", strides, count, 1, 1) || !read("dilations", dilations, count, 1, 1) ||
      !read("pads", pads, 2 * count, 0, 0))
    return false;
  if (given.empty()) {
    if (!n.hasAttribute("kernel_shape")) {
      n.fail("attribute kernel_shape is missing");
      return false;
    }
    if (!read("kernel_shape", kernel, count, 1, 1))
      return false;
  } else {
    kernel.assign(given.begin(), given.end());
    if (kernel.size() != count ||
        llvm::any_of(kernel, [](int64_t v) { return v < 1 || v > kMost; })) {
      n.fail(llvm::formatv("a kernel of {0} dims for an image of {1}", kernel.size(), count));
      return false;
    }
  }
  padsBegin.assign(pads.begin(), pads.begin() + count);
  padsEnd.assign(pads.begin() + count, pads.end());
  return true;
}

bool ImageWindow::findPositions(NodeImport &n, const Array &x) {
  ArrayBuilder &a = n.a;
  std::string rule = n.text("auto_pad", "NOTSET");
  bool same = rule == "SAME_UPPER" || rule == "SAME_LOWER";
  for (size_t dim = 0; dim < spatial(); ++dim) {
    AffineExpr size = x.shape[dim + 2];
    int64_t stride = strides[dim];
    if (same) {
      AffineExpr count = size.ceilDiv(stride);
      AffineExpr missing = a.simplify((count - 1) * stride + reach(dim) + 1 - size);
      auto [least, most] = a.boundsOf(missing);
      auto fixed = dyn_cast<AffineConstantExpr>(missing);
      if (!fixed && most > 0) {
        n.fail(llvm::formatv("auto_pad {0} with stride {1} needs a fixed size of spatial dim {2}",
                             rule, stride, dim));
        return false;
      }
      int64_t total = fixed ? std::max<int64_t>(fixed.getValue(), 0) : 0;
      padsBegin[dim] = rule == "SAME_UPPER" ? total / 2 : total - total / 2;
      padsEnd[dim] = total - padsBegin[dim];
      positions.push_back(a.simplify(count));
      continue;
    }
    if (rule == "VALID")
      padsBegin[dim] = padsEnd[dim] = 0;
    AffineExpr room = a.simplify(size + (padsBegin[dim] + padsEnd[dim] - reach(dim) - 1));
    if (a.boundsOf(room).second < 0) {
      n.fail(llvm::formatv("a window of {0} elements is larger than spatial dim {1}",
                           reach(dim) + 1, dim));
      return false;
    }
    AffineExpr count = room.floorDiv(stride) + 1;
    if (n.integer("ceil_mode", 0)) {
      // One more where a part is left, if its window begins in the image or in front of it.
      AffineExpr up = a.simplify(room.ceilDiv(stride) + 1);
      AffineExpr begins = a.simplify((size + padsBegin[dim]).ceilDiv(stride));
      count = up + begins - a.largest(up, begins);
    }
    positions.push_back(a.simplify(count));
  }
  return true;
}

std::optional<ImageWindow> ImageWindow::of(NodeImport &n, const Array &x,
                                           ArrayRef<int64_t> kernel) {
  ImageWindow window;
  if (!window.readAttributes(n, x, kernel) || !window.findPositions(n, x))
    return std::nullopt;
  return window;
}

/// Pads follow from the size of the result where that is given (output_shape), or by a rule.
std::optional<TransposedWindow> TransposedWindow::of(NodeImport &n, const Array &x,
                                                     ArrayRef<int64_t> kernel) {
  TransposedWindow window;
  if (!window.readAttributes(n, x, kernel))
    return std::nullopt;
  size_t count = window.spatial();
  SmallVector<int64_t> extra = n.integers("output_padding"), wanted = n.integers("output_shape");
  extra.resize(count);
  std::string rule = n.text("auto_pad", "NOTSET");
  if (wanted.size() == count + 2) // some give the whole shape
    wanted.erase(wanted.begin(), wanted.begin() + 2);
  if (!wanted.empty() && wanted.size() != count) {
    n.fail(llvm::formatv("output_shape: expected {0} sizes, found {1}", count, wanted.size()));
    return std::nullopt;
  }
  for (size_t dim = 0; dim < count; ++dim) {
    AffineExpr size = x.shape[dim + 2];
    if (extra[dim] < 0 || extra[dim] > kMost) {
      n.fail("output_padding is negative or too large");
      return std::nullopt;
    }
    AffineExpr full = (size - 1) * window.strides[dim] + (window.reach(dim) + 1 + extra[dim]);
    AffineExpr target;
    if (!wanted.empty())
      target = n.a.number(wanted[dim]);
    else if (rule == "SAME_UPPER" || rule == "SAME_LOWER")
      target = size * window.strides[dim];
    if (rule == "VALID")
      window.padsBegin[dim] = window.padsEnd[dim] = 0;
    if (target) {
      auto total = dyn_cast<AffineConstantExpr>(n.a.simplify(full - target));
      if (!total) {
        n.fail("padding that follows from a fixed output needs a fixed input");
        return std::nullopt;
      }
      int64_t all = std::max<int64_t>(total.getValue(), 0);
      window.padsBegin[dim] = rule == "SAME_UPPER" ? all / 2 : all - all / 2;
      window.padsEnd[dim] = all - window.padsBegin[dim];
    } else {
      target = full - (window.padsBegin[dim] + window.padsEnd[dim]);
    }
    window.positions.push_back(n.a.simplify(target));
    if (n.a.boundsOf(window.positions.back()).second < 1) {
      n.fail(llvm::formatv("spatial dim {0} of the result is empty", dim));
      return std::nullopt;
    }
  }
  return window;
}

DictionaryAttr ImageWindow::params(ArrayBuilder &a, ArrayRef<ArrayBuilder::Param> more) const {
  SmallVector<ArrayBuilder::Param> all{{"kernel", a.attr(ArrayRef<int64_t>(kernel))},
                                       {"strides", a.attr(ArrayRef<int64_t>(strides))},
                                       {"dilations", a.attr(ArrayRef<int64_t>(dilations))},
                                       {"pads_begin", a.attr(ArrayRef<int64_t>(padsBegin))},
                                       {"pads_end", a.attr(ArrayRef<int64_t>(padsEnd))}};
  llvm::append_range(all, more);
  return a.params(all);
}

Shape ImageWindow::resultShape(const Array &x, AffineExpr channels) const {
  Shape shape{x.shape[0]};
  llvm::append_range(shape, positions);
  shape.push_back(channels);
  return shape;
}
