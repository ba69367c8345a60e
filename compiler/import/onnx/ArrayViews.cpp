// Operators of an ArrayBuilder that put elements into other places. Constants are rearranged while
// the model is imported.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "compiler/import/onnx/KnownElements.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

static constexpr const char *kOutside = "elements are wanted that an operand does not have";

Array ArrayBuilder::rearranged(const Array &x, ArrayRef<AffineExpr> shape,
                               llvm::function_ref<int64_t(ArrayRef<int64_t>)> source) {
  Array result;
  result.element = x.element;
  result.shape.assign(shape.begin(), shape.end());
  Contents contents;
  bool whole = !x.contents->integers.empty(), isInside = true;
  auto known = int64_t(whole ? x.contents->integers.size() : x.contents->reals.size());
  forIndices(fixedShape(shape), [&](ArrayRef<int64_t> indices) {
    int64_t from = source(indices);
    isInside = isInside && from >= 0 && from < known;
    if (!isInside)
      return;
    if (whole)
      contents.integers.push_back(x.contents->integers[from]);
    else
      contents.reals.push_back(x.contents->reals[from]);
  });
  if (!isInside)
    return fail(kOutside);
  result.contents = std::make_shared<Contents>(std::move(contents));
  return result;
}

/// A view: at once where the operand is known and the result small, else an op of the graph.
/// `source` is the place in the operand of an element of the result.
Array ArrayBuilder::view(StringRef kind, const Array &x, ArrayRef<AffineExpr> shape,
                         DictionaryAttr given,
                         llvm::function_ref<int64_t(ArrayRef<int64_t>)> source) {
  Array shaped;
  shaped.shape.assign(shape.begin(), shape.end());
  int64_t count = shaped.count();
  if (x.contents && count >= 0 && count <= kMaxKnown)
    return rearranged(x, shape, source);
  // Constants of the model are rearranged here too: their elements are bytes.
  if (x.constant && !x.value && count >= 0 && count <= x.count() &&
      x.element.getIntOrFloatBitWidth() >= 8 && x.count() <= (int64_t(1) << 24)) {
    if (auto bytes = readBytes(*x.constant, &model)) {
      int64_t size = x.element.getIntOrFloatBitWidth() / 8;
      auto made = std::make_shared<OnnxTensor>();
      made->name = x.constant->name;
      made->type = x.constant->type;
      SmallVector<int64_t> extents_ = fixedShape(shape);
      made->dims.assign(extents_.begin(), extents_.end());
      made->elements = count;
      made->sizeBytes = uint64_t(count * size);
      made->bytes.resize(made->sizeBytes);
      int64_t to = 0, known = int64_t(bytes->size()) / size;
      bool isInside = true;
      forIndices(made->dims, [&](ArrayRef<int64_t> indices) {
        int64_t from = source(indices);
        isInside = isInside && from >= 0 && from < known;
        if (isInside)
          std::memcpy(made->bytes.data() + to, bytes->data() + from * size, size);
        to += size;
      });
      if (!isInside)
        return fail(kOutside);
      Array result = shaped;
      result.element = x.element;
      result.constant = made;
      return result;
    } else {
      llvm::consumeError(bytes.takeError());
    }
  }
  if (const Codes *known = x.value ? codesOf(x) : nullptr; known && known->hasOneScale()) {
    Codes from = *known;
    return dequantized(view(kind, from.codes, shape, given, source), from.scales[0], from.zeros[0]);
  }
  return compute(kind, x, x.element, shape, given);
}

Array ArrayBuilder::reshape(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  AffineExpr have = product(x.shape), want = product(shape);
  bool zero = false;
  for (AffineExpr size : x.shape)
    if (auto constant = dyn_cast<AffineConstantExpr>(size))
      zero = zero || constant.getValue() == 0;
  if (have != want && !zero &&
      !sameOrRequired(have, want, "the number of elements that a reshape takes and gives"))
    return fail(llvm::formatv("reshape of {0} to {1}", describe(x.shape), describe(shape)));
  return reshapeUnchecked(x, shape);
}

Array ArrayBuilder::reshapeUnchecked(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  if (x.shape.size() == shape.size() && llvm::all_of(llvm::zip(x.shape, shape), [&](auto pair) {
        return same(std::get<0>(pair), std::get<1>(pair));
      }))
    return x;
  Shape simple = llvm::map_to_vector(shape, [&](AffineExpr size) { return simplify(size); });
  if (!x.value && x.constant && !x.contents) { // the same bytes
    auto made = std::make_shared<OnnxTensor>(*x.constant);
    SmallVector<int64_t> extents_ = fixedShape(simple);
    made->dims.assign(extents_.begin(), extents_.end());
    Array result;
    result.element = x.element;
    result.shape = simple;
    result.constant = made;
    return result;
  }
  SmallVector<int64_t> extents = fixedShape(simple);
  return view("reshape", x, simple, {},
              [&](ArrayRef<int64_t> indices) { return flatIndex(extents, indices); });
}

Array ArrayBuilder::transpose(const Array &x, ArrayRef<int64_t> perm) {
  if (!x.element)
    return {};
  if (x.rank() != int64_t(perm.size()))
    return fail(llvm::formatv("transpose: expected {0} dims, found {1}", perm.size(), x.rank()));
  Shape shape;
  bool same = true;
  for (auto [to, from] : llvm::enumerate(perm)) {
    shape.push_back(x.shape[from]);
    same = same && int64_t(to) == from;
  }
  if (same)
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("transpose", x, shape, params({{"perm", attr(perm)}}),
              [&](ArrayRef<int64_t> indices) {
                SmallVector<int64_t> source(indices.size());
                for (auto [to, from] : llvm::enumerate(perm))
                  source[from] = indices[to];
                return flatIndex(own, source);
              });
}

Array ArrayBuilder::broadcast(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  if (x.shape.size() == shape.size() && llvm::all_of(llvm::zip(x.shape, shape), [&](auto pair) {
        return same(std::get<0>(pair), std::get<1>(pair));
      }))
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("broadcast", x, shape, {}, [&](ArrayRef<int64_t> indices) {
    SmallVector<int64_t> source;
    for (size_t i = 0; i < own.size(); ++i)
      source.push_back(own[i] == 1 ? 0 : indices[indices.size() - own.size() + i]);
    return flatIndex(own, source);
  });
}

Array ArrayBuilder::slice(const Array &x, ArrayRef<int64_t> starts, ArrayRef<AffineExpr> sizes,
                          ArrayRef<int64_t> steps) {
  if (!x.element)
    return {};
  if (x.rank() != int64_t(starts.size()) || sizes.size() != starts.size())
    return fail(llvm::formatv("slice: expected {0} dims, found {1}", starts.size(), x.rank()));
  SmallVector<int64_t> ones(starts.size(), 1);
  if (steps.empty())
    steps = ones;
  bool whole = llvm::all_equal(llvm::concat<const int64_t>(ArrayRef<int64_t>{1}, steps));
  for (auto [dim, start] : llvm::enumerate(starts))
    whole = whole && start == 0 && same(sizes[dim], x.shape[dim]);
  if (whole)
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("slice", x, sizes, params({{"starts", attr(starts)}, {"steps", attr(steps)}}),
              [&](ArrayRef<int64_t> indices) {
                SmallVector<int64_t> source;
                for (auto [dim, index] : llvm::enumerate(indices))
                  source.push_back(starts[dim] + index * steps[dim]);
                return flatIndex(own, source);
              });
}

Array ArrayBuilder::sliceAt(const Array &x, ArrayRef<AffineExpr> starts, ArrayRef<AffineExpr> sizes,
                            ArrayRef<int64_t> steps) {
  if (!x.element)
    return {};
  if (llvm::all_of(starts, llvm::IsaPred<AffineConstantExpr>)) {
    SmallVector<int64_t> fixed = llvm::map_to_vector(
        starts, [](AffineExpr e) { return llvm::cast<AffineConstantExpr>(e).getValue(); });
    return slice(x, fixed, sizes, steps);
  }
  SmallVector<int64_t> ones(starts.size(), 1);
  return compute("slice", {x, integers(starts), integers(numbers(steps.empty() ? ones : steps))},
                 x.element, sizes);
}

Array ArrayBuilder::sliceAt(const Array &x, const Array &starts, ArrayRef<AffineExpr> sizes) {
  if (!x.element || !starts.element)
    return {};
  if (const SmallVector<AffineExpr> *known = expressionsOf(starts))
    return sliceAt(x, *known, sizes);
  SmallVector<int64_t> ones(x.rank(), 1);
  return compute("slice", {x, starts, integers(numbers(ones))}, x.element, sizes);
}

/// Constants of the model one behind the other (gates of a recurrent operator in another order);
/// nothing where some are none, or they are too large to be copied.
static std::optional<ConstantTensor> joinConstants(const OnnxModel &model, ArrayRef<Array> parts,
                                                   int64_t axis, int64_t count) {
  unsigned bits = parts[0].element.getIntOrFloatBitWidth();
  if (count < 0 || count > int64_t(1) << 24 || bits < 8)
    return std::nullopt;
  auto made = std::make_shared<OnnxTensor>();
  std::vector<std::vector<uint8_t>> bytes;
  for (const Array &part : parts) {
    if (!part.constant || part.value || part.constant->type != parts[0].constant->type)
      return std::nullopt;
    auto own = readBytes(*part.constant, &model);
    if (!own) {
      llvm::consumeError(own.takeError());
      return std::nullopt;
    }
    bytes.push_back(std::move(*own));
  }
  int64_t outer = 1, inner = bits / 8, extent = 0;
  for (int64_t dim = 0; dim < parts[0].rank(); ++dim)
    if (dim != axis)
      (dim < axis ? outer : inner) *= parts[0].extent(dim);
  for (int64_t i = 0; i < outer; ++i)
    for (auto [part, own] : llvm::zip(parts, bytes)) {
      int64_t run = part.extent(axis) * inner;
      made->bytes.insert(made->bytes.end(), own.begin() + i * run, own.begin() + (i + 1) * run);
    }
  for (const Array &part : parts)
    extent += part.extent(axis);
  made->name = parts[0].constant->name;
  made->type = parts[0].constant->type;
  made->dims = parts[0].constant->dims;
  made->dims[axis] = extent;
  made->elements = count;
  made->sizeBytes = made->bytes.size();
  return made;
}

/// Arrays of equal scales are joined as codes; empty where they are none.
static Array concatCodes(ArrayBuilder &a, ArrayRef<Array> parts, int64_t axis) {
  SmallVector<Array> codes;
  const Codes *first = a.codesOf(parts[0]);
  for (const Array &part : parts) {
    const Codes *own = a.codesOf(part);
    if (!own || !own->hasOneScale() || own->scales != first->scales || own->zeros != first->zeros ||
        own->codes.element != first->codes.element)
      return {};
    codes.push_back(own->codes);
  }
  double scale = first->scales[0];
  int64_t zero = first->zeros[0];
  return a.dequantized(a.concat(codes, axis), scale, zero);
}

Array ArrayBuilder::concat(ArrayRef<Array> parts, int64_t axis) {
  for (const Array &part : parts)
    if (!part.element)
      return {};
  if (parts.size() == 1)
    return parts[0];
  if (parts.empty() || axis < 0 || axis >= parts[0].rank())
    return fail(
        llvm::formatv("concat: axis {0} of {1} dims", axis, parts.empty() ? 0 : parts[0].rank()));
  Shape shape = parts[0].shape;
  bool known = true;
  SmallVector<int64_t> ends;
  int64_t end = 0;
  for (auto [i, part] : llvm::enumerate(parts)) {
    if (part.rank() != parts[0].rank() || part.element != parts[0].element)
      return fail("concat: operands differ in rank or type");
    for (int64_t dim = 0; dim < part.rank(); ++dim)
      if (dim != axis && !sameOrRequired(shape[dim], part.shape[dim], "operands of a concat"))
        return fail(llvm::formatv("concat along {0}: shapes {1} and {2}", axis, describe(shape),
                                  describe(part.shape)));
    if (i > 0)
      shape[axis] = shape[axis] + part.shape[axis];
    known = known && part.contents;
    end += part.extent(axis);
    ends.push_back(end);
  }
  for (AffineExpr &size : shape)
    size = simplify(size);
  Array result;
  result.element = parts[0].element;
  result.shape = shape;
  int64_t count = result.count();
  if (known && count >= 0 && count <= kMaxKnown) {
    bool whole = llvm::all_of(parts, [](const Array &x) { return x.contents->reals.empty(); });
    bool reals = llvm::all_of(parts, [](const Array &x) { return x.contents->integers.empty(); });
    if (whole || reals) {
      Contents contents;
      forIndices(fixedShape(shape), [&](ArrayRef<int64_t> indices) {
        size_t part = 0;
        while (indices[axis] >= ends[part])
          ++part;
        SmallVector<int64_t> source(indices);
        source[axis] -= part ? ends[part - 1] : 0;
        int64_t flat = flatIndex(fixedShape(parts[part].shape), source);
        if (whole)
          contents.integers.push_back(parts[part].contents->integers[flat]);
        else
          contents.reals.push_back(parts[part].contents->reals[flat]);
      });
      result.contents = std::make_shared<Contents>(std::move(contents));
      return result;
    }
  }
  if (std::optional<ConstantTensor> joined = joinConstants(model, parts, axis, count)) {
    result.constant = *joined;
    return result;
  }
  if (Array joined = concatCodes(*this, parts, axis))
    return joined;
  return compute("concat", parts, result.element, shape, params({{"axis", attr(axis)}}));
}
