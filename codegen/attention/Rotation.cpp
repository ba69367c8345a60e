// Rotary embedding in attention kernels. A worker computes the sines and cosines of all tokens once
// per launch, in f64 turns (codegen/SinCos), and all heads of query and key take them from there.
#include "codegen/attention/Rotation.h"
#include "codegen/SinCos.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

Rotation::Rotation(AttentionFrame &frame) : f(frame), b(frame.b) {
  for (graph::RopeOp rope : {f.shape.query.rope, f.shape.key.rope}) {
    if (!rope)
      continue;
    bool known = llvm::any_of(tables, [&](const Table &table) {
      graph::RopeOp other = table.rope;
      return other.getPositions() == rope.getPositions() &&
             other.getRotaryDim() == rope.getRotaryDim() &&
             other.getFrequencies() == rope.getFrequencies() &&
             other.getFactor() == rope.getFactor();
    });
    if (!known)
      tables.push_back({rope, f.reservePerToken(int64_t(rope.getRotaryDim()) * 4)});
  }
}

const Rotation::Table &Rotation::tableOf(graph::RopeOp rope) {
  for (const Table &table : tables) {
    graph::RopeOp other = table.rope;
    if (other.getPositions() == rope.getPositions() &&
        other.getFrequencies() == rope.getFrequencies() && other.getFactor() == rope.getFactor())
      return table;
  }
  llvm_unreachable("every rotation has a table");
}

void Rotation::emitAngles() {
  if (tables.empty())
    return;
  loop(b, i64(b, 0), f.tokens, 1, [&](Value token) {
    for (const Table &table : tables) {
      graph::RopeOp rope = table.rope;
      int64_t half = rope.getRotaryDim() / 2, width = AttentionFrame::widestLanes(half);
      Value position = f.index(rope.getPositions(), token);
      Value turns = broadcast(b, arith::SIToFPOp::create(b, b.getF64Type(), position), width);
      Value place = f.tokenScratch(table.offset, token);
      SmallVector<double> frequencies = rope.getFrequencies();
      for (int64_t at = 0; at < half; at += width) {
        SmallVector<double> chunk;
        for (double frequency : ArrayRef(frequencies).slice(at, width))
          chunk.push_back(frequency / (2 * M_PI));
        Value factor = arith::ConstantOp::create(
            b, DenseElementsAttr::get(vectorOf(width, b.getF64Type()), ArrayRef<double>(chunk)));
        auto [sin, cos] = emitSinCos(b, arith::MulFOp::create(b, turns, factor));
        if (rope.getFactor() != 1) {
          Value factor = splatConstant(b, f.vector(width), rope.getFactor());
          sin = arith::MulFOp::create(b, sin, factor);
          cos = arith::MulFOp::create(b, cos, factor);
        }
        store(b, sin, address(b, place, at * 4), 4);
        store(b, cos, address(b, place, (half + at) * 4), 4);
      }
    }
  });
}

Value Rotation::normFactor(graph::RmsNormOp norm, Value row, double scale) {
  VectorType type = f.vector(f.headLanes);
  Value squares = splatConstant(b, type, 0);
  for (int64_t at = 0; at < f.headDim; at += f.headLanes) {
    Value x = load(b, type, address(b, row, at * 4), 4);
    squares = arith::AddFOp::create(b, squares, arith::MulFOp::create(b, x, x));
  }
  Value mean = arith::MulFOp::create(b, f.reduceAdd(squares), f32(b, 1.0 / double(f.headDim)));
  Value root = math::SqrtOp::create(
      b, arith::AddFOp::create(b, mean, f32(b, norm.getEps().convertToDouble())));
  return arith::DivFOp::create(b, f32(b, scale), root);
}

void Rotation::emitRow(const HeadSource &source, Value token, Value head, Value destination,
                       double scale) {
  Value row = f.sourceRow(source, token, head);
  Value factor, weights;
  if (graph::RmsNormOp norm = source.norm) {
    factor = normFactor(norm, row, scale);
    weights = f.frame.buffer(cast<BlockArgument>(norm.getWeight()).getArgNumber());
  }
  /// Columns from `at` on, loaded as x.
  auto scaled = [&](Value x, int64_t at) -> Value {
    auto type = cast<VectorType>(x.getType());
    if (factor) {
      x = arith::MulFOp::create(b, x, broadcast(b, factor, type.getNumElements()));
      return arith::MulFOp::create(b, x, load(b, type, address(b, weights, at * 4), 4));
    }
    if (scale == 1)
      return x;
    return arith::MulFOp::create(b, x, splatConstant(b, cast<VectorType>(x.getType()), scale));
  };
  int64_t rotated = 0;
  if (graph::RopeOp rope = source.rope) {
    rotated = rope.getRotaryDim();
    int64_t half = rotated / 2, width = AttentionFrame::widestLanes(half);
    VectorType type = f.vector(width);
    Value angles = f.tokenScratch(tableOf(rope).offset, token);
    for (int64_t at = 0; at < half; at += width) {
      Value low = scaled(load(b, type, address(b, row, at * 4), 4), at);
      Value high = scaled(load(b, type, address(b, row, (at + half) * 4), 4), at + half);
      Value sin = load(b, type, address(b, angles, at * 4), 4);
      Value cos = load(b, type, address(b, angles, (half + at) * 4), 4);
      Value first = arith::SubFOp::create(b, arith::MulFOp::create(b, low, cos),
                                          arith::MulFOp::create(b, high, sin));
      Value second = arith::AddFOp::create(b, arith::MulFOp::create(b, high, cos),
                                           arith::MulFOp::create(b, low, sin));
      store(b, first, address(b, destination, at * 4), 4);
      store(b, second, address(b, destination, (at + half) * 4), 4);
    }
  }
  int64_t width = AttentionFrame::widestLanes(f.headDim - rotated ? f.headDim - rotated : 1);
  for (int64_t at = rotated; at < f.headDim; at += width) {
    Value x = scaled(load(b, f.vector(width), address(b, row, at * 4), 4), at);
    store(b, x, address(b, destination, at * 4), 4);
  }
}
