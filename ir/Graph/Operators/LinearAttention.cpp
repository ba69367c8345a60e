// Linear attention: a state of [key depth, value depth] for each key head, which every token
// changes and then reads. Tokens follow one another; sequences and heads are independent.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// linear_attention(q [batch, rows, heads, dk], k [batch, rows, key heads, dk], v [batch, rows, key
// heads, dv], …) -> state [batch, key heads, dk, dv], y [batch, rows, heads, dv]. Optional
// operands, by their positions (-1: absent):
//   `state`  what the state is at first (0 without)
//   `decay`  [batch, rows, key heads, dk or 1]: the state is multiplied by e^decay before each
//   token `beta`   [batch, rows, key heads or 1, 1]: only so much of the difference between a value
//   and
//            what the state has for its key is written, instead of the value
// y = scale * q . state, after the token's key and value are in it.

namespace {

class LinearAttention {
public:
  LinearAttention(FillBuilder &f, ComputeOp op, ValueRange item)
      : f(f), op(op), a(f, f.codeType(elementOf(op.getOperand(0)))), batch(item[0]), head(item[1]),
        depth(f.extent(op.getOperand(1), 3)), width(f.extent(op.getOperand(2), 3)),
        spare(f.mul(depth, width)) {}
  void run();

private:
  Value optional(StringRef name) const {
    int64_t position = intParam(op, name);
    return position < 0 ? Value() : op.getOperand(unsigned(position));
  }
  /// Scratch memory: the state, row by row, and behind it a row of values.
  Value load(Value place) const { return f.loadScratch(a.code, bytesTo(place)); }
  void store(Value element, Value place) const { f.storeScratch(element, bytesTo(place)); }
  Value bytesTo(Value place) const {
    return f.mul(place, f.index(a.code.getIntOrFloatBitWidth() / 8));
  }
  Value stateAt(Value row, Value column) const { return f.add(f.mul(row, width), column); }
  Value spareAt(Value column) const { return f.add(spare, column); }
  /// An element of a tensor [batch, rows, heads, columns], dims of 1 broadcast.
  Value at(Value tensor, Value row, Value head, Value column) const {
    SmallVector<Value> place{batch, row, head, column};
    for (int64_t dim = 2; dim < 4; ++dim)
      if (tensorOf(tensor).getDimSize(dim) == 1)
        place[dim] = f.index(0);
    return a.read(tensor, place);
  }
  void forColumns(llvm::function_ref<void(Value)> body) const {
    f.loop(width, {}, [&](Value column, ValueRange) {
      body(column);
      return SmallVector<Value>();
    });
  }
  void forState(llvm::function_ref<void(Value, Value)> body) const {
    f.loop(depth, {}, [&](Value row, ValueRange) {
      forColumns([&](Value column) { body(row, column); });
      return SmallVector<Value>();
    });
  }
  /// Leaves the sum of the state's rows, each times a factor, in the spare row.
  void gather(llvm::function_ref<Value(Value)> factorOf) const {
    forColumns([&](Value column) { store(a.constant(0), spareAt(column)); });
    f.loop(depth, {}, [&](Value row, ValueRange) {
      Value factor = factorOf(row);
      forColumns([&](Value column) {
        Value sum = a.multiplyAdd(factor, load(stateAt(row, column)), load(spareAt(column)));
        store(sum, spareAt(column));
      });
      return SmallVector<Value>();
    });
  }
  void takeToken(Value token) const;

  FillBuilder &f;
  mutable ComputeOp op;
  Arithmetic a;
  Value batch, head, depth, width, spare;
};

} // namespace

void LinearAttention::takeToken(Value token) const {
  Value q = op.getOperand(0), k = op.getOperand(1), v = op.getOperand(2);
  if (Value decay = optional("decay"))
    f.loop(depth, {}, [&](Value row, ValueRange) {
      Value factor = a.exp(at(decay, token, head, row));
      forColumns([&](Value column) {
        store(a.mul(load(stateAt(row, column)), factor), stateAt(row, column));
      });
      return SmallVector<Value>();
    });
  if (Value beta = optional("beta")) {
    gather([&](Value row) { return at(k, token, head, row); });
    Value share = at(beta, token, head, f.index(0));
    forColumns([&](Value column) {
      Value missing = a.sub(at(v, token, head, column), load(spareAt(column)));
      store(a.mul(share, missing), spareAt(column));
    });
  } else {
    forColumns([&](Value column) { store(at(v, token, head, column), spareAt(column)); });
  }
  f.loop(depth, {}, [&](Value row, ValueRange) {
    Value key = at(k, token, head, row);
    forColumns([&](Value column) {
      Value state = a.multiplyAdd(key, load(spareAt(column)), load(stateAt(row, column)));
      store(state, stateAt(row, column));
    });
    return SmallVector<Value>();
  });
  Value heads = f.extent(q, 2), keyHeads = f.max(f.extent(k, 2), f.index(1));
  Value group = arith::DivUIOp::create(f.b, heads, keyHeads);
  f.loop(group, {}, [&](Value member, ValueRange) {
    Value own = f.add(f.mul(head, group), member);
    gather([&](Value row) { return at(q, token, own, row); });
    forColumns([&](Value column) {
      Value result = a.mul(load(spareAt(column)), a.constant(floatParam(op, "scale")));
      f.write(1, result, {batch, token, own, column});
    });
    return SmallVector<Value>();
  });
}

void LinearAttention::run() {
  Value past = optional("state");
  forState([&](Value row, Value column) {
    Value first = past ? a.read(past, {batch, head, row, column}) : a.constant(0);
    store(first, stateAt(row, column));
  });
  f.loop(f.extent(op.getOperand(0), 1), {}, [&](Value token, ValueRange) {
    takeToken(token);
    return SmallVector<Value>();
  });
  forState([&](Value row, Value column) {
    f.write(0, load(stateAt(row, column)), {batch, head, row, column});
  });
}

static AffineExpr scratchOf(ComputeOp op) {
  AffineExpr depth = extentExpr(op, tensorOf(op.getOperand(1)), 3);
  AffineExpr width = extentExpr(op, tensorOf(op.getOperand(2)), 3);
  unsigned bits = ElementBuilder::codeType(elementOf(op.getOperand(0))).getIntOrFloatBitWidth();
  return (depth * width + width) * int64_t(bits / 8);
}

static LogicalResult verifyLinearAttention(ComputeOp op) {
  if (failed(verifyCounts(op, 3, 6, 2)) || failed(verifyFloat(op, "scale")))
    return failure();
  for (StringRef name : {"state", "decay", "beta"})
    if (failed(verifyInt(op, name, -1, int64_t(op.getNumOperands()) - 1)))
      return failure();
  if (op.getNumResults() != 2)
    return op.emitOpError() << "has two results";
  for (Type type : llvm::concat<Type>(SmallVector<Type>(op->getOperandTypes()),
                                      SmallVector<Type>(op->getResultTypes()))) {
    auto tensor = cast<RankedTensorType>(type);
    if (tensor.getRank() != 4 || !isa<FloatType>(tensor.getElementType()))
      return op.emitOpError() << "takes and gives floats of 4 dims, found " << tensor;
  }
  return success();
}

const Operator &graph::linearAttentionOperator() {
  static const Operator record{
      "linear_attention",
      Cost::Fill,
      nullptr,
      nullptr,
      [](FillBuilder &f, ComputeOp op, ValueRange item) { LinearAttention(f, op, item).run(); },
      [](ComputeOp) { return SmallVector<unsigned>{0, 1}; },
      scratchOf,
      false,
      false,
      verifyLinearAttention};
  return record;
}
