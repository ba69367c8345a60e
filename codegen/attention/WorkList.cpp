// The pieces of a launch of attention. A call may mix sequences and positions in any way, so the
// list is built from positions and slots, by every worker for itself, in its first range: a record
// for each block or single token with the cost of all before it. A head's pieces are mapped to its
// items in proportion to cost, so items stay an expression of the dims.
#include "codegen/attention/WorkList.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

WorkList::WorkList(AttentionFrame &frame, int64_t minTokens, int64_t maxTokens,
                   int64_t singleWeight, int64_t stateBytes)
    : f(frame), b(frame.b), minTokens(minTokens), maxTokens(maxTokens), singleWeight(singleWeight),
      stateBytes(stateBytes), parts(std::max<int64_t>(16, llvm::divideCeil(64, frame.kvHeads))),
      totalOffset(frame.reserve(Totals * 8)), recordOffset(frame.reservePerToken(64)) {}

AffineExpr WorkList::items() { return getAffineConstantExpr(f.kvHeads * parts, b.getContext()); }

static Value compare(ImplicitLocOpBuilder &b, arith::CmpIPredicate predicate, Value x, Value y) {
  return arith::CmpIOp::create(b, predicate, x, y);
}
static Value select(ImplicitLocOpBuilder &b, Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, condition, x, y);
}

/// Pages that some of `count` tokens sees.
Value WorkList::pagesOf(Value token, Value count) {
  Value end = f.frame.ceilDiv(f.endSeen(f.slot(token), f.position(token), count), f.pageSize);
  if (!f.window)
    return end;
  return f.frame.sub(end, f.frame.floorDiv(f.firstSeen(f.position(token)), f.pageSize));
}
Value WorkList::firstSegmentOf(Value token) {
  return f.frame.floorDiv(f.firstSeen(f.position(token)),
                          f.pageSize * VectorAttention::kSegmentPages);
}
Value WorkList::segmentsOf(Value token) {
  if (!f.window)
    return f.frame.ceilDiv(pagesOf(token, i64(b, 1)), VectorAttention::kSegmentPages);
  Value end = f.frame.ceilDiv(f.frame.add(f.position(token), i64(b, 1)),
                              f.pageSize * VectorAttention::kSegmentPages);
  return f.frame.sub(end, firstSegmentOf(token));
}

/// States that the workspace holds.
Value WorkList::workspaceStates() {
  if (!f.shape.hasWorkspace)
    return i64(b, 0);
  Type type = f.kernel.getBody().front().getTerminator()->getOperand(1).getType();
  int64_t rowBytes = cast<RankedTensorType>(type).getDimSize(1) * 4;
  return f.frame.floorDiv(f.frame.mul(f.frame.rowsOf(type), i64(b, rowBytes)), stateBytes);
}

void WorkList::emitBuild() {
  KernelFrame &k = f.frame;
  Value one = i64(b, 1), zero = i64(b, 0), last = k.sub(f.tokens, one);
  // Start of each token's record, for now: tokens from it on that follow each other, itself
  // included.
  loop(b, zero, f.tokens, 1, ValueRange{zero}, [&](Value index, ValueRange carried) {
    Value token = k.sub(last, index), next = k.min(k.add(token, one), last);
    auto equal = [&](Value x, Value y) { return compare(b, arith::CmpIPredicate::eq, x, y); };
    Value follows = arith::AndIOp::create(b, equal(f.slot(token), f.slot(next)),
                                          equal(k.add(f.position(token), one), f.position(next)));
    Value run = k.add(select(b, follows, carried[0], zero), one);
    store(b, run, field(Start, token), 8);
    return SmallVector<Value>{run};
  });
  SmallVector<Value> zeros(5, zero);
  SmallVector<Value> sums = loop(b, zero, f.tokens, 1, zeros, [&](Value token, ValueRange carried) {
    Value next = carried[0], records = carried[1], cost = carried[2], singles = carried[3],
          states = carried[4];
    Value run = k.min(load(field(Start, token)), i64(b, maxTokens));
    Value isBlock = compare(b, arith::CmpIPredicate::sge, run, i64(b, minTokens));
    Value count = select(b, isBlock, run, one);
    // Of a token inside a block nothing is kept: the next record takes its place.
    Value begins = compare(b, arith::CmpIPredicate::eq, token, next);
    store(b, token, field(Token, records), 8);
    store(b, count, field(Count, records), 8);
    store(b, states, field(Slot, records), 8);
    store(b, singles, field(Ordinal, records), 8);
    Value weight = select(b, isBlock, one, i64(b, singleWeight));
    Value pages = pagesOf(token, count);
    if (f.window) // the first segment may be seen in part, but counts in full below
      pages = select(b, isBlock, pages,
                     k.mul(segmentsOf(token), i64(b, VectorAttention::kSegmentPages)));
    Value added = k.mul(k.mul(count, pages), weight);
    auto advance = [&](Value value, Value by) { return k.add(value, select(b, begins, by, zero)); };
    // Its cost before it goes where the run of tokens was, which has been read: records <= token.
    store(b, select(b, begins, cost, load(field(Start, records))), field(Start, records), 8);
    return SmallVector<Value>{advance(next, count), advance(records, one), advance(cost, added),
                              advance(singles, select(b, isBlock, zero, one)),
                              advance(states, select(b, isBlock, zero, segmentsOf(token)))};
  });
  store(b, sums[1], total(Records), 8);
  store(b, sums[2], total(Cost), 8);
  auto fits = [&](Value count, Value limit) {
    return compare(b, arith::CmpIPredicate::sle, k.mul(count, i64(b, f.kvHeads)), limit);
  };
  Value shared =
      arith::AndIOp::create(b, fits(sums[3], i64(b, kCounters)), fits(sums[4], workspaceStates()));
  store(b, select(b, shared, one, zero), total(Shared), 8);
}

void WorkList::emitPieces(const Emitters &emitters) {
  KernelFrame &k = f.frame;
  Value cost = load(total(Cost)), records = load(total(Records));
  Value firstHead = k.floorDiv(k.begin(), parts), lastHead = k.ceilDiv(k.end(), parts);
  loop(b, firstHead, lastHead, 1, [&](Value head) {
    // A piece after cost c of its head belongs to item floor(c * parts / cost).
    Value firstItem = k.mul(head, i64(b, parts));
    Value from = k.mul(k.sub(k.begin(), firstItem), cost);
    Value to = k.mul(k.sub(k.end(), firstItem), cost);
    auto whenMine = [&](Value offset, llvm::function_ref<void()> body) {
      Value scaled = k.mul(offset, i64(b, parts));
      branch(b,
             arith::AndIOp::create(b, compare(b, arith::CmpIPredicate::sge, scaled, from),
                                   compare(b, arith::CmpIPredicate::slt, scaled, to)),
             body);
    };
    loop(b, i64(b, 0), records, 1,
         [&](Value record) { emitPiece(emitters, head, record, whenMine); });
  });
}

void WorkList::emitPiece(
    const Emitters &emitters, Value head, Value record,
    llvm::function_ref<void(Value offset, llvm::function_ref<void()>)> whenMine) {
  KernelFrame &k = f.frame;
  Value token = load(field(Token, record)), start = load(field(Start, record));
  Piece piece;
  piece.rows = {head, token, load(field(Count, record)), f.slot(token), f.position(token)};
  Value isBlock = compare(b, arith::CmpIPredicate::sgt, piece.rows.count, i64(b, 1));
  auto single = [&] {
    if (!f.shape.hasWorkspace)
      return whenMine(start, [&] { emitters.single(piece); });
    piece.segments = segmentsOf(token);
    Value shared = arith::AndIOp::create(
        b, compare(b, arith::CmpIPredicate::ne, load(total(Shared)), i64(b, 0)),
        compare(b, arith::CmpIPredicate::sgt, piece.segments, i64(b, 1)));
    branch(
        b, shared,
        [&] {
          Value firstState = k.add(k.mul(load(field(Slot, record)), i64(b, f.kvHeads)),
                                   k.mul(head, piece.segments));
          piece.states = address(b, f.frame.writeBuffer(1), firstState, stateBytes);
          Value ordinal = k.add(k.mul(load(field(Ordinal, record)), i64(b, f.kvHeads)), head);
          piece.counter = address(b, f.frame.counters(), ordinal, 4);
          int64_t segmentCost = VectorAttention::kSegmentPages * singleWeight;
          loop(b, i64(b, 0), piece.segments, 1, [&](Value segment) {
            piece.segment = f.window ? k.add(firstSegmentOf(token), segment) : segment;
            piece.state = address(b, piece.states, segment, stateBytes);
            whenMine(k.add(start, k.mul(segment, i64(b, segmentCost))),
                     [&] { emitters.segment(piece); });
          });
        },
        [&] { whenMine(start, [&] { emitters.single(piece); }); });
  };
  branch(b, isBlock, [&] { whenMine(start, [&] { emitters.block(piece); }); }, single);
}
