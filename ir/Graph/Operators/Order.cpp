// Sorting, counting and choosing: the best along an axis, places of what is not zero, distinct
// slices, boxes that do not cover one another.
#include "ir/Graph/Operators/Scratch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static Value truth(ElementBuilder &e, bool value) { return e.integer(e.b.getI1Type(), value); }
static Value isNot(ElementBuilder &e, Value x) { return e.equal(x, truth(e, false)); }

/// Bytes of scratch for so many arrays of i64 as long as a dim.
static AffineExpr numbersBytes(ComputeOp op, Value tensor, unsigned dim, unsigned arrays) {
  return extentExpr(op, tensorOf(tensor), dim) * (8 * int64_t(arrays));
}

// ---- The best along an axis ---------------------------------------------------------------------

/// Fixed numbers of results up to which each is looked for by itself, without sorting.
static constexpr int64_t kMaxSearched = 16;

static bool isSearched(ComputeOp op) {
  int64_t wanted = tensorOf(op.getResult(0)).getDimSize(intParam(op, "axis"));
  return !ShapedType::isDynamic(wanted) && wanted <= kMaxSearched;
}

/// The largest elements (or smallest) along `axis`, best first, of equals the first first; and
/// their numbers, i64.
static void bestAlongAxis(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value x = op.getOperand(0);
  int64_t axis = intParam(op, "axis");
  bool largest = intParam(op, "largest") != 0;
  Type element = tensorOf(x).getElementType(), i64 = f.b.getI64Type();
  auto precedes = [&](Value a, Value b) {
    return largest ? isLess(f, element, b, a) : isLess(f, element, a, b);
  };
  auto elementAt = [&](Value i) { return f.read(x, alongAxis(op, item, i)); };
  Value extent = f.extent(x, axis), wanted = f.extent(op.getResult(0), axis);
  auto put = [&](Value rank, Value number) {
    SmallVector<Value> to = alongAxis(op, item, rank);
    f.write(0, elementAt(number), to);
    f.write(1, f.fromIndex(number, i64), to);
  };
  if (isSearched(op)) {
    // The next is the best of those that the one before precedes.
    f.loop(wanted, f.index(0), [&](Value rank, ValueRange before) {
      Value last = elementAt(before[0]), isFirst = f.equal(rank, f.index(0));
      SmallVector<Value> best =
          f.loop(extent, {f.index(0), last, truth(f, false)}, [&](Value i, ValueRange state) {
            Value candidate = elementAt(i);
            Value isLater = f.all(isEqual(f, candidate, last), f.less(before[0], i));
            Value isFree = f.any(isFirst, f.any(precedes(last, candidate), isLater));
            Value isBetter = f.any(isNot(f, state[2]), precedes(candidate, state[1]));
            Value take = f.all(isFree, isBetter);
            return SmallVector<Value>{f.select(take, i, state[0]),
                                      f.select(take, candidate, state[1]), f.any(state[2], take)};
          });
      put(rank, best[0]);
      return SmallVector<Value>{best[0]};
    });
    return;
  }
  ScratchArray numbers{f, i64, f.index(0)}, spare{f, i64, numbers.end(extent)};
  f.loop(extent, {}, [&](Value i, ValueRange) {
    numbers.setIndex(i, i);
    return SmallVector<Value>();
  });
  sortNumbers(f, numbers, spare, extent,
              [&](Value a, Value b) { return precedes(elementAt(a), elementAt(b)); });
  f.loop(f.min(wanted, extent), {}, [&](Value rank, ValueRange) {
    put(rank, numbers.getIndex(rank));
    return SmallVector<Value>();
  });
}

static AffineExpr bestScratch(ComputeOp op) {
  if (isSearched(op))
    return getAffineConstantExpr(0, op.getContext());
  return numbersBytes(op, op.getOperand(0), unsigned(intParam(op, "axis")), 2);
}

// ---- Places of what is not zero -----------------------------------------------------------------

/// The indices of the elements that are not zero, row by row: a column [rank] for each; the result
/// [rank, n] has as many columns as there are.
static void nonZero(FillBuilder &f, ComputeOp op, ValueRange) {
  Value x = op.getOperand(0);
  RankedTensorType type = tensorOf(x);
  SmallVector<Value> counts;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    counts.push_back(f.extent(x, dim));
  Value room = f.extent(op.getResult(0), 1);
  f.loops(counts, f.index(0), [&](ValueRange indices, ValueRange state) {
    Value column = state[0];
    Value isSome = f.convert(f.read(x, indices), type.getElementType(), f.b.getI1Type());
    Value take = f.all(isSome, f.less(column, room));
    f.either(
        take, {},
        [&] {
          for (auto [dim, index] : llvm::enumerate(indices))
            f.write(0, f.fromIndex(index, f.b.getI64Type()), {f.index(dim), column});
          return SmallVector<Value>();
        },
        [] { return SmallVector<Value>(); });
    return SmallVector<Value>{f.select(take, f.add(column, f.index(1)), column)};
  });
}

// ---- Distinct slices ----------------------------------------------------------------------------

/// Of the slices x[:, i, :] of [outer, n, inner]: the number of the group of equal ones that each
/// is in [n]; of each group its first slice [n] and its size [n], 0 behind the last group; the
/// number of groups [1]. Groups are numbered by their slices' order where `sorted`, else as they
/// occur.
static void groupSlices(FillBuilder &f, ComputeOp op, ValueRange) {
  Value x = op.getOperand(0);
  Type element = tensorOf(x).getElementType(), i64 = f.b.getI64Type();
  bool sorted = intParam(op, "sorted") != 0;
  Value count = f.extent(x, 1), zero = f.index(0), one = f.index(1);
  // Whether slice a comes before slice b, and whether they differ.
  auto compare = [&](Value a, Value b) {
    Value no = truth(f, false);
    return f.loops(
        {f.extent(x, 0), f.extent(x, 2)}, {no, no}, [&](ValueRange at, ValueRange state) {
          Value left = f.read(x, {at[0], a, at[1]}), right = f.read(x, {at[0], b, at[1]});
          Value isBefore = isLess(f, element, left, right);
          return SmallVector<Value>{f.select(state[1], state[0], isBefore),
                                    f.any(state[1], isNot(f, isEqual(f, left, right)))};
        });
  };
  ScratchArray order{f, i64, zero}, leaders{f, i64, order.end(count)};
  ScratchArray groups{f, i64, leaders.end(count)}, sizes{f, i64, groups.end(count)};
  ScratchArray firsts{f, i64, sizes.end(count)};
  f.loop(count, {}, [&](Value i, ValueRange) {
    order.setIndex(i, i);
    sizes.setIndex(i, zero);
    firsts.setIndex(i, zero);
    return SmallVector<Value>();
  });
  sortNumbers(f, order, leaders, count, [&](Value a, Value b) { return compare(a, b)[0]; });
  // The leader of a slice is the first of its group; equal slices lie side by side in the order.
  f.loop(count, zero, [&](Value rank, ValueRange state) {
    Value slice = order.getIndex(rank);
    Value previous = order.getIndex(f.max(f.sub(rank, one), zero));
    Value isNew = f.any(f.equal(rank, zero), compare(previous, slice)[1]);
    Value leader = f.select(isNew, slice, state[0]);
    leaders.setIndex(slice, leader);
    return SmallVector<Value>{leader};
  });
  Value found = f.loop(count, zero, [&](Value step, ValueRange state) {
    Value slice = sorted ? order.getIndex(step) : step;
    Value leader = leaders.getIndex(slice), isLeader = f.equal(leader, slice);
    f.either(
        isLeader, {},
        [&] {
          groups.setIndex(slice, state[0]);
          firsts.setIndex(state[0], slice);
          return SmallVector<Value>();
        },
        [] { return SmallVector<Value>(); });
    Value group = groups.getIndex(leader);
    sizes.setIndex(group, f.add(sizes.getIndex(group), one));
    f.write(0, f.fromIndex(group, i64), slice);
    return SmallVector<Value>{f.select(isLeader, f.add(state[0], one), state[0])};
  })[0];
  f.loop(count, {}, [&](Value i, ValueRange) {
    f.write(1, firsts.get(i), i);
    f.write(2, sizes.get(i), i);
    return SmallVector<Value>();
  });
  f.write(3, f.fromIndex(found, i64), zero);
}

static AffineExpr groupScratch(ComputeOp op) { return numbersBytes(op, op.getOperand(0), 1, 5); }

// ---- Boxes --------------------------------------------------------------------------------------

namespace {
struct Box {
  Value top, left, bottom, right;
};
} // namespace

/// Box i of image `image`: two corners in any order, or with `center` its middle (x, y), width,
/// height.
static Box readBox(FillBuilder &f, ComputeOp op, Value image, Value i) {
  Value c[4];
  for (int k = 0; k < 4; ++k)
    c[k] = f.read(op.getOperand(0), {image, i, f.index(k)});
  auto &b = f.b;
  if (hasParam(op, "center")) {
    Value half = f.constant(c[0].getType(), 0.5);
    Value width = arith::MulFOp::create(b, c[2], half),
          height = arith::MulFOp::create(b, c[3], half);
    return {arith::SubFOp::create(b, c[1], height), arith::SubFOp::create(b, c[0], width),
            arith::AddFOp::create(b, c[1], height), arith::AddFOp::create(b, c[0], width)};
  }
  return {arith::MinimumFOp::create(b, c[0], c[2]), arith::MinimumFOp::create(b, c[1], c[3]),
          arith::MaximumFOp::create(b, c[0], c[2]), arith::MaximumFOp::create(b, c[1], c[3])};
}

static Value area(FillBuilder &f, const Box &box) {
  return arith::MulFOp::create(f.b, arith::SubFOp::create(f.b, box.bottom, box.top),
                               arith::SubFOp::create(f.b, box.right, box.left));
}

/// Whether the part that two boxes share is more of what they cover together than `threshold`.
static Value overlap(FillBuilder &f, const Box &x, const Box &y, Value threshold) {
  auto &b = f.b;
  Value zero = f.constant(threshold.getType(), 0);
  auto side = [&](Value low1, Value low2, Value high1, Value high2) -> Value {
    Value length = arith::SubFOp::create(b, arith::MinimumFOp::create(b, high1, high2),
                                         arith::MaximumFOp::create(b, low1, low2));
    return arith::MaximumFOp::create(b, length, zero);
  };
  Value shared = arith::MulFOp::create(b, side(x.top, y.top, x.bottom, y.bottom),
                                       side(x.left, y.left, x.right, y.right));
  Value all = arith::SubFOp::create(b, arith::AddFOp::create(b, area(f, x), area(f, y)), shared);
  Value part = arith::DivFOp::create(b, shared, all); // NaN where both are empty
  return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, part, threshold);
}

/// boxes [images, n, 4], scores [images, classes, n], scalars: boxes of a class at most (i64),
/// overlap and score above which a box is left out or looked at. Results: the boxes chosen for each
/// class of each image, best first [images, classes, room] and their numbers [images, classes],
/// i64.
static void chooseBoxes(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value boxes = op.getOperand(0), scores = op.getOperand(1);
  Value image = item[0], count = f.extent(boxes, 1), zero = f.index(0), one = f.index(1);
  Value limit = f.min(f.readIndex(op.getOperand(2), {}), f.extent(op.getResult(0), 2));
  Value threshold = f.read(op.getOperand(3), {}), least = f.read(op.getOperand(4), {});
  Type i64 = f.b.getI64Type(), real = tensorOf(scores).getElementType();
  auto score = [&](Value i) { return f.read(scores, {item[0], item[1], i}); };
  ScratchArray order{f, i64, zero}, spare{f, i64, order.end(count)};
  Value candidates = f.loop(count, zero, [&](Value i, ValueRange state) {
    order.setIndex(state[0], i);
    Value take = isLess(f, real, least, score(i));
    return SmallVector<Value>{f.select(take, f.add(state[0], one), state[0])};
  })[0];
  sortNumbers(f, order, spare, candidates,
              [&](Value a, Value b) { return isLess(f, real, score(b), score(a)); });
  // Chosen ones are collected in `spare`.
  Value chosen = f.loop(candidates, zero, [&](Value rank, ValueRange state) {
    Value candidate = order.getIndex(rank);
    Box box = readBox(f, op, image, candidate);
    Value hasRoom = f.less(state[0], limit);
    Value compared = f.select(hasRoom, state[0], zero);
    Value covered = f.loop(compared, truth(f, false), [&](Value i, ValueRange so) {
      Box other = readBox(f, op, image, spare.getIndex(i));
      return SmallVector<Value>{f.any(so[0], overlap(f, other, box, threshold))};
    })[0];
    Value take = f.all(hasRoom, isNot(f, covered));
    f.either(
        take, {},
        [&] {
          spare.setIndex(state[0], candidate);
          f.write(0, f.fromIndex(candidate, i64), {item[0], item[1], state[0]});
          return SmallVector<Value>();
        },
        [] { return SmallVector<Value>(); });
    return SmallVector<Value>{f.select(take, f.add(state[0], one), state[0])};
  })[0];
  f.write(1, f.fromIndex(chosen, i64), {item[0], item[1]});
}

static SmallVector<unsigned> classesOfImages(ComputeOp) { return {0, 1}; }
static AffineExpr boxScratch(ComputeOp op) { return numbersBytes(op, op.getOperand(0), 1, 2); }

/// The results of choose_boxes as a list of (image, class, box) [n, 3], which has room for all.
static void listBoxes(FillBuilder &f, ComputeOp op, ValueRange) {
  Value chosen = op.getOperand(0), numbers = op.getOperand(1);
  Type i64 = f.b.getI64Type();
  Value one = f.index(1), room = f.extent(op.getResult(0), 0);
  f.loops({f.extent(numbers, 0), f.extent(numbers, 1)}, f.index(0),
          [&](ValueRange group, ValueRange state) {
            Value left = f.max(f.sub(room, state[0]), f.index(0));
            Value count = f.min(f.readIndex(numbers, group), left);
            f.loop(count, {}, [&](Value i, ValueRange) {
              Value row = f.add(state[0], i);
              f.write(0, f.fromIndex(group[0], i64), {row, f.index(0)});
              f.write(0, f.fromIndex(group[1], i64), {row, one});
              f.write(0, f.read(chosen, {group[0], group[1], i}), {row, f.index(2)});
              return SmallVector<Value>();
            });
            return SmallVector<Value>{f.add(state[0], count)};
          });
}

ArrayRef<Operator> graph::orderOperators() {
  static const Operator table[] = {
      Operator{"top_k", Cost::Fill, nullptr, nullptr, bestAlongAxis, dimsBesideAxis, bestScratch},
      Operator{"nonzero", Cost::Fill, nullptr, nullptr, nonZero},
      Operator{"group_slices", Cost::Fill, nullptr, nullptr, groupSlices, nullptr, groupScratch},
      Operator{"choose_boxes", Cost::Fill, nullptr, nullptr, chooseBoxes, classesOfImages,
               boxScratch},
      Operator{"list_boxes", Cost::Fill, nullptr, nullptr, listBoxes},
  };
  return table;
}
