// Recognises a kernel of the operator "attention" on arrays of f32 whose rows lie at known
// distances.
#include "codegen/attention/DenseAttentionShape.h"
#include "codegen/VectorEpilogue.h"
#include "ir/PanelLayout.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// What is kept of weights in memory as they are.
static std::optional<std::string> refuseMask(RankedTensorType type) {
  if (type.getElementType().isInteger(1)) {
    StoredAttr stored = getStored(type);
    if (stored && stored.getFormat() != kRawFormatName)
      return "its mask is stored in another form";
  } else if (std::optional<std::string> why = refuseElements(type)) {
    return why;
  }
  if (type.getShape().back() == 1)
    return "its mask has one element for all keys";
  return std::nullopt;
}

std::optional<DenseAttentionShape> DenseAttentionShape::match(exec::KernelOp kernel,
                                                              std::string &reason) {
  DenseAttentionShape shape;
  auto refuse = [&](const Twine &why) {
    reason = why.str();
    return std::nullopt;
  };
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    auto compute = dyn_cast<ComputeOp>(op);
    if (!compute || compute.getKind() != "attention" || shape.op)
      return refuse("more than one attention over arrays");
    shape.op = compute;
  }
  if (!shape.op)
    return refuse("no attention over arrays");
  if (shape.op.getNumResults() > 1)
    return refuse("its scores are a result");
  unsigned reads = kernel.getBody().getNumArguments();
  auto describe = [&](Value value, unsigned buffer, StringRef layout) {
    HeadRows rows;
    rows.type = tensorOf(value);
    rows.buffer = buffer;
    rows.headsFirst = intParam(shape.op, layout) != 0;
    int64_t stride = kernel.getRowStrides()[buffer];
    rows.stride = stride ? stride : rows.type.getShape().back();
    int64_t heads = rows.headsFirst ? 1 : rows.type.getDimSize(rows.headsDim());
    bool isKnown = !ShapedType::isDynamic(rows.stride) && !ShapedType::isDynamic(heads) &&
                   !ShapedType::isDynamic(rows.columns());
    rows.rowBytes = isKnown ? heads * rows.stride * 4 : 0;
    return rows;
  };
  HeadRows *operands[] = {&shape.q, &shape.k, &shape.v};
  for (unsigned i = 0; i < 3; ++i) {
    auto argument = dyn_cast<BlockArgument>(shape.op.getOperand(i));
    if (!argument)
      return refuse("an operand is computed in the kernel");
    if (std::optional<std::string> why = refuseElements(tensorOf(argument)))
      return refuse(*why);
    *operands[i] =
        describe(argument, argument.getArgNumber(), i == 0 ? "q_heads_first" : "kv_heads_first");
  }
  shape.y = describe(shape.op.getResult(0), reads, "y_heads_first");
  if (!shape.y.type.getElementType().isF32())
    return refuse("its result is not f32");
  for (const HeadRows *rows : {&shape.q, &shape.k, &shape.v, &shape.y})
    if (!rows->rowBytes)
      return refuse("the distance of rows is not known");
  auto parameter = [&](StringRef name, BlockArgument &to) -> LogicalResult {
    int64_t position = intParam(shape.op, name);
    if (position < 0)
      return success();
    to = dyn_cast<BlockArgument>(shape.op.getOperand(unsigned(position)));
    return success(bool(to));
  };
  if (failed(parameter("mask", shape.mask)) || failed(parameter("offsets", shape.offsets)) ||
      failed(parameter("lengths", shape.lengths)))
    return refuse("an operand is computed in the kernel");
  if (shape.mask)
    if (std::optional<std::string> why = refuseMask(tensorOf(shape.mask)))
      return refuse(*why);
  for (BlockArgument vector : {shape.offsets, shape.lengths})
    if (vector && getStored(vector.getType()) &&
        getStored(vector.getType()).getFormat() != kRawFormatName)
      return refuse("offsets or lengths are stored in another form");
  shape.scale = floatParam(shape.op, "scale");
  shape.softcap = floatParam(shape.op, "softcap");
  shape.left = intParam(shape.op, "left");
  shape.right = intParam(shape.op, "causal") ? 0 : intParam(shape.op, "right");
  return shape;
}
