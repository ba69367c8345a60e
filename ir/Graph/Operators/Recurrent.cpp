// Recurrences along a dim: cumulative sums, and the cells of LSTM, GRU and RNN.
//
// Cells get the projections of all inputs at once, made by a matmul before; what is left here is,
// for each step, the last state times the recurrent weight [hidden, gates * hidden], row by row:
// the inner loops run over gates side by side in memory. A group of sequences of the batch is an
// item.
#include "ir/Graph/Operators/Scratch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// Sums (or products) of the elements up to each along `axis`; `exclusive`: without itself;
/// `reverse`: from the end.
static void cumulate(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value x = op.getOperand(0);
  Type element = tensorOf(x).getElementType();
  bool isProduct = hasParam(op, "product"), exclusive = hasParam(op, "exclusive");
  Value extent = f.extent(x, intParam(op, "axis")), last = f.sub(extent, f.index(1));
  f.loop(extent, f.integer(element, isProduct), [&](Value i, ValueRange state) {
    Value place = hasParam(op, "reverse") ? f.sub(last, i) : i;
    SmallVector<Value> at = alongAxis(op, item, place);
    Value next = f.read(x, at), sum;
    if (isa<FloatType>(element))
      sum = isProduct ? arith::MulFOp::create(f.b, state[0], next).getResult()
                      : arith::AddFOp::create(f.b, state[0], next).getResult();
    else
      sum = isProduct ? f.mul(state[0], next) : f.add(state[0], next);
    f.write(0, exclusive ? state[0] : sum, at);
    return SmallVector<Value>{sum};
  });
}

// ---- Cells --------------------------------------------------------------------------------------

namespace {

/// Sequences of the batch come in groups: those of a group are computed together, so that the
/// weight is read once for all of them. Operands: gates [time, groups, members, gates * hidden],
/// the recurrent weight [hidden, gates * hidden], the state [groups, members, hidden], and what the
/// cell has besides (of an LSTM first its cell state). Where the param `lengths` is there, the last
/// operand tells how long each sequence is, and groups have one member. Results: all states [time,
/// groups, members, hidden], 0 behind a sequence's end; the last state [groups, members, hidden].
/// Params: `activations`, their `alphas` and `betas`; `clip`: bound of what goes into the gates'
/// activations, 0 for none; `reverse`: sequences run from their ends.
class Cell {
public:
  Cell(FillBuilder &f, ComputeOp op, ValueRange item, unsigned gateCount)
      : f(f), b(f.b), op(op), group(item[0]), hidden(f.extent(op.getOperand(2), 2)),
        members(tensorOf(op.getOperand(2)).getDimSize(1)),
        element(ElementBuilder::codeType(tensorOf(op.getOperand(2)).getElementType())),
        gates{f, element, f.index(0)},
        state{f, element, gates.end(f.mul(hidden, f.index(gateCount * members)))},
        second{f, element, state.end(f.mul(hidden, f.index(members)))},
        third{f, element, second.end(f.mul(hidden, f.index(members)))}, gateCount(gateCount) {
    textParam(op, "activations").split(activations, ',');
  }

  /// For each step: gates = its projection; step(time), which must write the state.
  void run(llvm::function_ref<void(Value)> step);
  /// The gates first .. first + count - 1 plus `source` times the recurrent weight.
  void addRecurrence(const ScratchArray &source, unsigned first, unsigned count);
  /// The state after the last step; 0 where a sequence has none, as ONNX Runtime has it.
  void writeLast(unsigned result, const ScratchArray &values);
  /// For each member and each place of its state: body(member, place, the place in `state`).
  void forHidden(llvm::function_ref<void(Value, Value, Value)> body) {
    f.loops({f.index(members), hidden}, {}, [&](ValueRange at, ValueRange) {
      body(at[0], at[1], f.add(f.mul(at[0], hidden), at[1]));
      return SmallVector<Value>();
    });
  }
  void load(unsigned operand, const ScratchArray &into) {
    forHidden([&](Value m, Value j, Value place) {
      into.set(place, f.read(op.getOperand(operand), {group, m, j}));
    });
  }
  void setState(Value time, Value m, Value j, Value value) {
    state.set(f.add(f.mul(m, hidden), j), value);
    f.write(0, value, {time, group, m, j});
  }
  Value gate(unsigned number, Value m, Value j) {
    return gates.get(ofMember(m, gatePlace(number, j)));
  }
  /// A place among a member's gates as one among all.
  Value ofMember(Value m, Value place) {
    return f.add(f.mul(m, f.mul(hidden, f.index(gateCount))), place);
  }
  Value gatePlace(unsigned number, Value j) {
    return number ? f.add(f.mul(hidden, f.index(number)), j) : j;
  }
  /// Activation `number` of a clipped value.
  Value activate(unsigned number, Value x);
  Value activateUnclipped(unsigned number, Value x);

  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value real(double value) { return f.constant(element, value); }
  Value inside(Value x, double low, double high) {
    return arith::MinimumFOp::create(b, arith::MaximumFOp::create(b, x, real(low)), real(high));
  }

  FillBuilder &f;
  ImplicitLocOpBuilder &b;
  mutable ComputeOp op;
  Value group, hidden;
  int64_t members;
  Type element;
  ScratchArray gates, state, second, third; // second and third: as the cell likes

private:
  unsigned gateCount;
  Value length; // of this sequence
  SmallVector<StringRef> activations;
};

} // namespace

void Cell::run(llvm::function_ref<void(Value)> step) {
  Value projections = op.getOperand(0), steps = f.extent(projections, 0);
  length = steps;
  if (hasParam(op, "lengths")) {
    length = f.readIndex(op.getOperands().back(), group);
    length = f.max(f.min(length, steps), f.index(0));
  }
  load(2, state);
  f.loop(length, {}, [&](Value i, ValueRange) {
    Value time = i;
    if (hasParam(op, "reverse"))
      time = f.sub(f.sub(length, f.index(1)), i);
    f.loops({f.index(members), f.mul(hidden, f.index(gateCount))}, {},
            [&](ValueRange at, ValueRange) {
              Value gate = f.read(projections, {time, group, at[0], at[1]});
              gates.set(ofMember(at[0], at[1]), gate);
              return SmallVector<Value>();
            });
    step(time);
    return SmallVector<Value>();
  });
  f.loop(f.sub(steps, length), {}, [&](Value i, ValueRange) {
    forHidden(
        [&](Value m, Value j, Value) { f.write(0, real(0), {f.add(length, i), group, m, j}); });
    return SmallVector<Value>();
  });
  writeLast(1, state);
}

void Cell::writeLast(unsigned result, const ScratchArray &values) {
  forHidden([&](Value m, Value j, Value place) {
    Value last = values.get(place);
    if (hasParam(op, "lengths"))
      last = f.select(f.less(f.index(0), length), last, real(0));
    f.write(result, last, {group, m, j});
  });
}

void Cell::addRecurrence(const ScratchArray &source, unsigned first, unsigned count) {
  // Some rows of the weight at once, so that the sums are loaded and stored less often.
  int64_t rowsAtOnce = members > 1 ? 4 : 8;
  Value weight = op.getOperand(1), start = f.mul(hidden, f.index(first));
  auto addRows = [&](Value row, int64_t rows) {
    SmallVector<Value> factors, places; // of the first member, of the second, …
    for (int64_t r = 0; r < rows; ++r)
      places.push_back(r ? f.add(row, f.index(r)) : row);
    for (int64_t m = 0; m < members; ++m)
      for (Value place : places)
        factors.push_back(source.get(f.add(f.mul(f.index(m), hidden), place)));
    f.loop(f.mul(hidden, f.index(count)), {}, [&](Value j, ValueRange) {
      Value column = first ? f.add(start, j) : j;
      for (int64_t m = 0; m < members; ++m) {
        Value place = ofMember(f.index(m), column), sum = gates.get(place);
        for (int64_t r = 0; r < rows; ++r)
          sum = math::FmaOp::create(b, factors[m * rows + r], f.read(weight, {places[r], column}),
                                    sum);
        gates.set(place, sum);
      }
      return SmallVector<Value>();
    });
  };
  Value blocks = arith::DivUIOp::create(b, hidden, f.index(rowsAtOnce));
  f.loop(blocks, {}, [&](Value block, ValueRange) {
    addRows(f.mul(block, f.index(rowsAtOnce)), rowsAtOnce);
    return SmallVector<Value>();
  });
  Value done = f.mul(blocks, f.index(rowsAtOnce));
  f.loop(f.sub(hidden, done), {}, [&](Value i, ValueRange) {
    addRows(f.add(done, i), 1);
    return SmallVector<Value>();
  });
}

Value Cell::activate(unsigned number, Value x) {
  double clip = floatParam(op, "clip");
  return activateUnclipped(number, clip > 0 ? inside(x, -clip, clip) : x);
}

Value Cell::activateUnclipped(unsigned number, Value x) {
  StringRef name = activations[number];
  double alpha = floatsParam(op, "alphas")[number], beta = floatsParam(op, "betas")[number];
  auto positive = [&](Value than) -> Value {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, than);
  };
  auto expOf = [&](Value v) -> Value { return math::ExpOp::create(b, v); };
  if (name == "sigmoid")
    return div(real(1), add(expOf(sub(real(0), x)), real(1)));
  if (name == "tanh")
    return math::TanhOp::create(b, x);
  if (name == "relu")
    return arith::MaximumFOp::create(b, x, real(0));
  if (name == "affine")
    return add(mul(x, real(alpha)), real(beta));
  if (name == "leakyrelu")
    return f.select(positive(real(0)), x, mul(x, real(alpha)));
  if (name == "thresholdedrelu")
    return f.select(positive(real(alpha)), x, real(0));
  if (name == "scaledtanh")
    return mul(math::TanhOp::create(b, mul(x, real(beta))), real(alpha));
  if (name == "hardsigmoid")
    return inside(add(mul(x, real(alpha)), real(beta)), 0, 1);
  if (name == "elu")
    return f.select(positive(real(0)), x, mul(sub(expOf(x), real(1)), real(alpha)));
  Value size = math::AbsFOp::create(b, x);
  if (name == "softsign")
    return div(x, add(size, real(1)));
  // softplus: max(x, 0) + ln(1 + e^-|x|)
  Value rest = math::Log1pOp::create(b, expOf(sub(real(0), size)));
  return add(rest, arith::MaximumFOp::create(b, x, real(0)));
}

/// Gates i, o, f, c; operand 3: the cell state; with `peepholes` the next: p_i, p_o, p_f [3
/// hidden]. Result 2: the last cell state.
static void lstmCells(FillBuilder &f, ComputeOp op, ValueRange item) {
  Cell c(f, op, item, 4);
  const ScratchArray &memory = c.second;
  c.load(3, memory);
  bool peepholes = hasParam(op, "peepholes");
  auto peep = [&](unsigned which, Value j, Value cell, Value gate) {
    if (!peepholes)
      return gate;
    return c.add(gate, c.mul(f.read(op.getOperand(4), c.gatePlace(which, j)), cell));
  };
  c.run([&](Value time) {
    c.addRecurrence(c.state, 0, 4);
    c.forHidden([&](Value m, Value j, Value place) {
      Value last = memory.get(place);
      Value input = c.activate(0, peep(0, j, last, c.gate(0, m, j)));
      Value forget = hasParam(op, "input_forget")
                         ? c.sub(c.real(1), input)
                         : c.activate(0, peep(2, j, last, c.gate(2, m, j)));
      Value fresh = c.activate(1, c.gate(3, m, j));
      Value cell = c.add(c.mul(forget, last), c.mul(input, fresh));
      Value output = c.activate(0, peep(1, j, cell, c.gate(1, m, j)));
      memory.set(place, cell);
      c.setState(time, m, j, c.mul(output, c.activateUnclipped(2, cell)));
    });
  });
  c.writeLast(2, memory);
}

/// Gates z, r, h. With `recurrent_bias` [hidden], operand 3, the reset gate works on what the
/// recurrent weight gives plus that bias; otherwise on the state before.
static void gruCells(FillBuilder &f, ComputeOp op, ValueRange item) {
  Cell c(f, op, item, 3);
  bool resetsAfter = hasParam(op, "recurrent_bias");
  const ScratchArray &kept = c.second, &projection = c.third;
  c.run([&](Value time) {
    if (resetsAfter) {
      // The last gate: its projection is put aside, and its recurrent part is made alone.
      c.forHidden([&](Value m, Value j, Value place) {
        projection.set(place, c.gate(2, m, j));
        c.gates.set(c.ofMember(m, c.gatePlace(2, j)), f.read(op.getOperand(3), j));
      });
      c.addRecurrence(c.state, 0, 3);
      c.forHidden([&](Value m, Value j, Value place) {
        Value update = c.activate(0, c.gate(0, m, j)), reset = c.activate(0, c.gate(1, m, j));
        Value fresh = c.activate(1, c.add(projection.get(place), c.mul(reset, c.gate(2, m, j))));
        Value last = c.state.get(place);
        c.setState(time, m, j, c.add(c.mul(c.sub(c.real(1), update), fresh), c.mul(update, last)));
      });
      return;
    }
    c.addRecurrence(c.state, 0, 2);
    c.forHidden([&](Value m, Value j, Value place) {
      Value reset = c.activate(0, c.gate(1, m, j));
      kept.set(place, c.mul(reset, c.state.get(place)));
    });
    c.addRecurrence(kept, 2, 1);
    c.forHidden([&](Value m, Value j, Value place) {
      Value update = c.activate(0, c.gate(0, m, j)), fresh = c.activate(1, c.gate(2, m, j));
      Value last = c.state.get(place);
      c.setState(time, m, j, c.add(c.mul(c.sub(c.real(1), update), fresh), c.mul(update, last)));
    });
  });
}

static void rnnCells(FillBuilder &f, ComputeOp op, ValueRange item) {
  Cell c(f, op, item, 1);
  c.run([&](Value time) {
    c.addRecurrence(c.state, 0, 1);
    c.forHidden(
        [&](Value m, Value j, Value) { c.setState(time, m, j, c.activate(0, c.gate(0, m, j))); });
  });
}

static SmallVector<unsigned> sequences(ComputeOp) { return {1}; }

/// Of each member the gates and three arrays as long as the state, elements of 8 bytes at most.
static AffineExpr cellScratch(ComputeOp op) {
  int64_t members = tensorOf(op.getOperand(2)).getDimSize(1);
  return (extentExpr(op, tensorOf(op.getOperand(0)), 3) * 8 +
          extentExpr(op, tensorOf(op.getOperand(2)), 2) * 24) *
         members;
}

#define CELLS(name, function)                                                                      \
  Operator { name, Cost::Fill, nullptr, nullptr, function, sequences, cellScratch }

ArrayRef<Operator> graph::recurrentOperators() {
  static const Operator table[] = {
      Operator{"cumulate", Cost::Fill, nullptr, nullptr, cumulate, dimsBesideAxis},
      CELLS("lstm_cells", lstmCells),
      CELLS("gru_cells", gruCells),
      CELLS("rnn_cells", rnnCells),
  };
  return table;
}
