// Products of matrices that are both computed: x [..., m, k] times y [..., k, n].
//
//   for each item (indices of the leading dims, block of rows, few panels of columns)
//     the panels' columns of y as lines of 16 side by side, zeros past the last
//     for each tile of the block's rows
//       sums += rows x lines                       codegen/FloatTile
//       stores
//
// Packing costs what two rows' products do, and lets the lines of any y stream from the nearest
// caches.
#include "codegen/array/PackedMatmul.h"
#include "codegen/EmitSupport.h"
#include "codegen/FloatTile.h"
#include "codegen/KernelFrame.h"
#include "codegen/Target.h"
#include "codegen/VectorEpilogue.h"
#include "ir/Graph/Operators.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
/// Rows that are not worth a packed matrix.
static constexpr int64_t fewRows = 3;
/// Tiles of a block of rows.
static constexpr int64_t tilesOfBlock = 8;

static graph::ComputeOp findProduct(exec::KernelOp kernel) {
  auto ops = kernel.getBody().front().without_terminator();
  auto product = ops.empty() ? graph::ComputeOp() : dyn_cast<graph::ComputeOp>(*ops.begin());
  return product && product.getKind() == "matmul" && llvm::hasSingleElement(ops)
             ? product
             : graph::ComputeOp();
}

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &) {
  graph::ComputeOp product = findProduct(kernel);
  if (!product)
    return "no product of two arrays alone";
  if (product.getNumOperands() != 2)
    return "something is subtracted from its operands";
  RankedTensorType result = graph::tensorOf(product.getResult(0));
  for (Value operand : product.getOperands()) {
    if (!isa<BlockArgument>(operand))
      return "an operand is computed in the kernel";
    if (std::optional<std::string> why = refuseElements(graph::tensorOf(operand)))
      return why;
  }
  if (!result.getElementType().isF32())
    return "its result is not f32";
  int64_t rows = result.getShape().drop_back().back();
  if (!ShapedType::isDynamic(rows) && rows <= fewRows)
    return "few rows: packing costs more than it gains";
  return std::nullopt;
}

namespace {

class PackedMatmul {
public:
  PackedMatmul(exec::KernelOp kernel, const Target &target, OpBuilder &builder)
      : kernel(kernel), frame(kernel, builder), b(frame.builder()), op(findProduct(kernel)),
        x(describe(op.getOperand(0), cast<BlockArgument>(op.getOperand(0)).getArgNumber())),
        y(describe(op.getOperand(1), cast<BlockArgument>(op.getOperand(1)).getArgNumber())),
        z(describe(op.getResult(0), kernel.getBody().getNumArguments())) {
    setTileTuning(frame.function(), target);
    constexpr int64_t lots = 1 << 20;
    auto known = [](int64_t extent) { return ShapedType::isDynamic(extent) ? lots : extent; };
    int64_t panels = llvm::divideCeil(known(z.type.getShape().back()), lanes);
    tile = chooseTile(std::max<int64_t>(known(z.type.getShape().drop_back().back()), 1),
                      std::max<int64_t>(panels, 1), target);
  }

  KernelCode emit();

private:
  struct Matrix {
    RankedTensorType type;
    Value base, rows, columns, stride; // i64; the stride in bytes, from row to row
  };
  Matrix describe(Value tensor, unsigned buffer) {
    RankedTensorType type = graph::tensorOf(tensor);
    unsigned rank = unsigned(type.getRank());
    Matrix matrix{
        type, frame.buffer(buffer), frame.extent(type, rank - 2), frame.extent(type, rank - 1), {}};
    int64_t stride = kernel.getRowStrides()[buffer];
    matrix.stride = frame.mul(stride ? i64(b, stride) : matrix.columns, i64(b, 4));
    return matrix;
  }
  /// Address of a row of the matrix that the indices of the result's leading dims lead to.
  Value rowAddress(const Matrix &matrix, ArrayRef<Value> leading, Value row);
  void emitItem(Value item);
  void pack(ArrayRef<Value> leading, Value column);
  void emitTile(Value rows, Value result, int64_t height, Value column, bool whole);
  int64_t columnsAtOnce() const { return tile.panels * lanes; }
  int64_t line() const { return columnsAtOnce() * 4; }
  int64_t blockRows() const { return tile.rows * tilesOfBlock; }
  Value bytesOf(Value number, Value stride) { return frame.mul(number, stride); }

  exec::KernelOp kernel;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  graph::ComputeOp op;
  Matrix x, y, z;
  TileSize tile;
};

} // namespace

KernelCode PackedMatmul::emit() {
  loop(b, frame.begin(), frame.end(), 1, [&](Value item) { emitItem(item); });
  unsigned rank = unsigned(z.type.getRank());
  AffineExpr items = getAffineConstantExpr(1, b.getContext());
  for (unsigned dim = 0; dim < rank; ++dim) {
    AffineExpr extent = graph::extentExpr(kernel, z.type, dim);
    if (dim + 2 == rank)
      extent = extent.ceilDiv(blockRows());
    if (dim + 1 == rank)
      extent = extent.ceilDiv(columnsAtOnce());
    items = items * extent;
  }
  AffineExpr depth = graph::extentExpr(kernel, x.type, unsigned(x.type.getRank()) - 1);
  auto map = [&](AffineExpr expr) {
    return AffineMap::get(0, kernel.getDims().size(), expr, b.getContext());
  };
  return {map(items), map(depth * line())};
}

Value PackedMatmul::rowAddress(const Matrix &matrix, ArrayRef<Value> leading, Value row) {
  int64_t skipped = z.type.getRank() - matrix.type.getRank();
  Value number = i64(b, 0);
  for (unsigned dim = 0; dim + 2 < unsigned(matrix.type.getRank()); ++dim) {
    Value size = frame.extent(matrix.type, dim), index = leading[size_t(skipped + dim)];
    if (matrix.type.getDimSize(dim) == 1)
      index = i64(b, 0);
    else if (matrix.type.isDynamicDim(dim)) // it may be 1
      index = frame.min(index, frame.sub(size, i64(b, 1)));
    number = frame.add(frame.mul(number, size), index);
  }
  number = frame.add(frame.mul(number, matrix.rows), row);
  return address(b, matrix.base, bytesOf(number, matrix.stride), 1);
}

void PackedMatmul::emitItem(Value item) {
  auto split = [&](Value count) -> Value {
    Value rest = arith::RemUIOp::create(b, item, count);
    item = arith::DivUIOp::create(b, item, count);
    return rest;
  };
  // Neighbouring items are blocks of the same columns.
  Value block = split(frame.ceilDiv(z.rows, blockRows()));
  Value column =
      frame.mul(split(frame.ceilDiv(z.columns, columnsAtOnce())), i64(b, columnsAtOnce()));
  SmallVector<Value> leading(size_t(z.type.getRank()) - 2);
  for (size_t dim = leading.size(); dim-- > 0;)
    leading[dim] = split(frame.extent(z.type, unsigned(dim)));
  pack(leading, column);
  Value first = frame.mul(block, i64(b, blockRows()));
  Value count = frame.min(frame.sub(z.rows, first), i64(b, blockRows()));
  Value rows = rowAddress(x, leading, first);
  Value result = address(b, rowAddress(z, leading, first), column, 4);
  auto forTiles = [&](bool whole) {
    forHeights(b, tileHeights(tile.rows), i64(b, 0), count, [&](Value row, int64_t height) {
      emitTile(address(b, rows, bytesOf(row, x.stride), 1),
               address(b, result, bytesOf(row, z.stride), 1), height, column, whole);
    });
  };
  int64_t columns = z.type.getShape().back();
  if (!ShapedType::isDynamic(columns) && columns % columnsAtOnce() == 0)
    return forTiles(true);
  Value end = frame.add(column, i64(b, columnsAtOnce()));
  branch(
      b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, end, z.columns),
      [&] { forTiles(true); }, [&] { forTiles(false); });
}

/// Brings the columns from `column` on into scratch, a line for each row of y.
void PackedMatmul::pack(ArrayRef<Value> leading, Value column) {
  Value from = address(b, rowAddress(y, leading, i64(b, 0)), column, 4);
  VectorType vector = vectorOf(lanes, b.getF32Type());
  Value left = frame.sub(z.columns, column);
  auto forLines = [&](llvm::function_ref<void(Value source, Value target)> body) {
    loop(b, i64(b, 0), y.rows, 1, [&](Value k) {
      body(address(b, from, bytesOf(k, y.stride), 1), address(b, frame.scratch(), k, line()));
    });
  };
  auto copyWhole = [&](Value source, Value target, int64_t panel) {
    store(b, load(b, vector, address(b, source, panel * lanes * 4), 4),
          address(b, target, panel * lanes * 4), 64);
  };
  auto emitWhole = [&] {
    forLines([&](Value source, Value target) {
      for (int64_t p = 0; p < tile.panels; ++p)
        copyWhole(source, target, p);
    });
  };
  auto emitRest = [&] {
    forLines([&](Value source, Value target) {
      for (int64_t p = 0; p < tile.panels; ++p)
        store(b, splatConstant(b, vector, 0), address(b, target, p * lanes * 4), 64);
      loop(b, i64(b, 0), left, 1, [&](Value i) {
        store(b, load(b, b.getF32Type(), address(b, source, i, 4), 4), address(b, target, i, 4), 4);
      });
    });
  };
  branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sge, left, i64(b, columnsAtOnce())),
         emitWhole, emitRest);
}

/// `whole`: all columns are the result's.
void PackedMatmul::emitTile(Value rows, Value result, int64_t height, Value column, bool whole) {
  VectorType vector = vectorOf(lanes, b.getF32Type());
  SmallVector<Value> addresses, panels;
  for (int64_t r = 0; r < height; ++r)
    addresses.push_back(r ? address(b, rows, bytesOf(i64(b, r), x.stride), 1) : rows);
  for (int64_t p = 0; p < tile.panels; ++p)
    panels.push_back(address(b, frame.scratch(), p * lanes * 4));
  FloatProducts products{
      rows, {}, panels, &getFormats()[size_t(FormatId::F32)], x.type.getShape().back(), x.columns};
  products.addresses = addresses;
  products.lineBytes = line();
  SmallVector<Value> zeros(size_t(height * tile.panels), splatConstant(b, vector, 0));
  SmallVector<Value> sums = emitFloatProducts(b, products, zeros);
  for (int64_t p = 0; p < tile.panels; ++p) {
    Value mask;
    if (!whole) {
      SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(p * lanes, (p + 1) * lanes));
      Value lane = arith::ConstantOp::create(
          b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
      Value left = broadcast(b, frame.sub(z.columns, column), lanes);
      mask = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, left);
    }
    for (int64_t r = 0; r < height; ++r) {
      Value to = address(b, r ? address(b, result, bytesOf(i64(b, r), z.stride), 1) : result,
                         p * lanes * 4);
      Value sum = sums[size_t(p * height + r)];
      if (whole)
        store(b, sum, to, 4);
      else
        LLVM::MaskedStoreOp::create(b, sum, to, mask, 4);
    }
  }
}

const KernelEmitter &kiln::packedMatmulEmitter() {
  static constexpr KernelEmitter emitter = {
      "matmul-packed", refuse,
      [](exec::KernelOp kernel, const Target &target, OpBuilder &builder) -> FailureOr<KernelCode> {
        return PackedMatmul(kernel, target, builder).emit();
      }};
  return emitter;
}
