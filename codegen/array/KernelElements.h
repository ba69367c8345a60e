// The values of a kernel of array operators, element by element: reads are loads or, of what the
// kernel computes itself, the producer's element.
#ifndef KILN_CODEGEN_ARRAY_KERNELELEMENTS_H
#define KILN_CODEGEN_ARRAY_KERNELELEMENTS_H

#include "codegen/KernelFrame.h"
#include "ir/Graph/Operators.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace kiln {

class KernelElements : public graph::FillBuilder {
public:
  KernelElements(KernelFrame &frame, exec::KernelOp kernel);

  mlir::Value read(mlir::Value tensor, mlir::ValueRange indices) override;
  mlir::Value extent(mlir::Value tensor, unsigned dim) override;
  mlir::Value dim(mlir::FlatSymbolRefAttr symbol) override;
  void write(unsigned result, mlir::Value element, mlir::ValueRange indices) override;
  mlir::Value readBack(unsigned result, mlir::ValueRange indices) override;
  mlir::Value narrowToBits(mlir::Value element, mlir::FloatType type) override;
  mlir::Value narrowFromBits(mlir::Value bits, mlir::FloatType type) override;
  mlir::Value scratch() override { return frame.scratch(); }
  mlir::Value loadScratch(mlir::Type element, mlir::Value place) override;
  void storeScratch(mlir::Value element, mlir::Value place) override;

  /// Stores an element of one of the kernel's results.
  void store(unsigned write, mlir::Value element, mlir::ValueRange indices);
  /// The size of a dim of a type, of type index.
  mlir::Value extentOf(mlir::RankedTensorType type, unsigned dim);
  /// The operator that fills the kernel's results itself.
  void setFiller(graph::ComputeOp op) { filler = op; }

  /// Why a parameter of that type cannot be read; nullopt where it can.
  static std::optional<std::string> refuseParameter(mlir::RankedTensorType type);

private:
  mlir::Value build(mlir::Value tensor, mlir::ValueRange indices);
  mlir::Value load(mlir::Value base, int64_t stride, mlir::RankedTensorType type,
                   mlir::ValueRange indices, bool written);
  mlir::Value place(int64_t stride, mlir::RankedTensorType type, mlir::ValueRange indices);
  /// An element rounded to its type, still as code has it.
  mlir::Value rounded(mlir::Value element, mlir::Type type);
  bool isVisible(mlir::Value value) const;

  KernelFrame &frame;
  exec::KernelOp kernel;
  graph::ComputeOp filler;
  mlir::LLVM::AliasScopeAttr writes; // all that the kernel writes
  using Key = std::pair<mlir::Value, llvm::SmallVector<mlir::Value>>;
  std::map<std::pair<void *, std::vector<void *>>, mlir::Value> known;
};

} // namespace kiln

#endif
