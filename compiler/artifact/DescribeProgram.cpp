// Walks a module after memory planning and describes it for the runtime: exec.kernel becomes a
// name, a list of the ops it fuses and a count of multiplications; functions are in
// DescribeFunction.cpp. Codes come later, one image per target (DescribeImage.cpp).
#include "compiler/artifact/DescribeFacts.h"
#include "compiler/artifact/DescribeFunction.h"
#include "compiler/artifact/ExprFromAffine.h"
#include "compiler/artifact/WeightPacker.h"
#include "ir/Exec/ExecDialect.h"
#include "kiln/abi.h"
#include "kiln/artifact.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace kiln;
using namespace mlir;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

// ---- Kernels and weights ----------------------------------------------------------------------

/// "rms_norm, matmul, slice x3"
static std::string describeOps(exec::KernelOp kernel) {
  SmallVector<std::pair<std::string, unsigned>> runs;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    std::string name = op.getName().stripDialect().str();
    if (runs.empty() || runs.back().first != name)
      runs.emplace_back(name, 0);
    ++runs.back().second;
  }
  return llvm::join(llvm::map_range(runs,
                                    [](const auto &run) {
                                      return run.second == 1
                                                 ? run.first
                                                 : llvm::formatv("{0} x{1}", run.first, run.second);
                                    }),
                    ", ");
}

/// Multiplications of the kernel's matmuls for one launch; null where it has none.
static AffineExpr countMacs(exec::KernelOp kernel) {
  AffineExpr macs;
  kernel.walk([&](Operation *op) {
    int64_t perRow;
    if (auto matmul = dyn_cast<graph::MatmulOp>(op))
      perRow = cast<RankedTensorType>(matmul.getWeight().getType()).getNumElements();
    else if (auto experts = dyn_cast<graph::ExpertsMatmulOp>(op))
      perRow = cast<RankedTensorType>(experts.getWeight().getType()).getNumElements() /
               int64_t(experts.getExperts()) * int64_t(experts.getUsed());
    else
      return;
    auto result = cast<RankedTensorType>(op->getResult(0).getType());
    AffineExpr rows;
    if (FlatSymbolRefAttr symbol = graph::getRowSymbol(result)) {
      for (auto [i, name] : llvm::enumerate(kernel.getDims().getAsValueRange<StringAttr>()))
        if (name == symbol.getValue())
          rows = getAffineSymbolExpr(i, kernel.getContext());
    } else if (!result.isDynamicDim(0)) {
      rows = getAffineConstantExpr(result.getDimSize(0), kernel.getContext());
    }
    if (rows)
      macs = macs ? macs + rows * perRow : rows * perRow;
  });
  return macs;
}

static llvm::Expected<std::unique_ptr<schema::KernelT>> describeKernel(exec::KernelOp kernel) {
  auto described = std::make_unique<schema::KernelT>();
  described->name = kernel.getSymName().str();
  described->bindings = unsigned(kernel.getRowStrides().size());
  described->description = describeOps(kernel);
  if (AffineExpr macs = countMacs(kernel)) {
    auto expr = exprFromAffine(macs, kernel.getDims().size());
    if (!expr)
      return expr.takeError();
    described->macs = std::move(*expr);
  }
  return described;
}

/// Gives every weight that a function uses a place in the weights section.
static llvm::Error describeWeights(ModuleOp module, ProgramDescription &description,
                                   llvm::StringMap<unsigned> &weights) {
  SymbolTable symbols(module);
  llvm::MapVector<Attribute, unsigned> known; // by what is stored
  uint64_t offset = 0;
  llvm::Error error = llvm::Error::success();
  module.walk([&](exec::WeightOp use) {
    auto weight = symbols.lookup<graph::WeightOp>(use.getWeight());
    if (!weight) {
      error = fail("no weight @{0}", use.getWeight());
      return WalkResult::interrupt();
    }
    auto key = ArrayAttr::get(module.getContext(),
                              {weight.getSources(), weight.getTransforms(), weight.getTypeAttr(),
                               weight.getFormatAttr(), weight.getLayoutAttr()});
    auto [entry, isNew] = known.insert({key, unsigned(description.weights.size())});
    weights[use.getWeight()] = entry->second;
    if (!isNew)
      return WalkResult::advance();
    auto bytes = getPackedBytes(weight);
    if (!bytes) {
      error = bytes.takeError();
      return WalkResult::interrupt();
    }
    auto described = std::make_unique<schema::WeightT>();
    described->name = weight.getSymName().str();
    described->offset = offset;
    described->size_bytes = *bytes;
    described->format = weight.getFormat().str();
    described->layout = weight.getLayout().str();
    for (int64_t dim : cast<RankedTensorType>(weight.getType()).getShape())
      described->shape.push_back(uint64_t(dim));
    offset = llvm::alignTo(offset + *bytes, KILN_WEIGHT_ALIGNMENT);
    description.program.weights.push_back(std::move(described));
    description.weights.push_back(weight);
    return WalkResult::advance();
  });
  return error;
}

llvm::Expected<ProgramDescription> kiln::describeProgram(ModuleOp module) {
  ProgramDescription description;
  schema::ProgramT &program = description.program;
  program.abi_version = KILN_ABI_VERSION;
  llvm::StringMap<unsigned> weights, kernels;
  if (llvm::Error error = describeWeights(module, description, weights))
    return error;
  for (auto kernel : module.getOps<exec::KernelOp>()) {
    auto described = describeKernel(kernel);
    if (!described)
      return described.takeError();
    kernels[kernel.getSymName()] = unsigned(program.kernels.size());
    program.kernels.push_back(std::move(*described));
  }
  for (auto func : module.getOps<exec::FuncOp>()) {
    auto function = describeFunction(func, kernels, weights, program);
    if (!function)
      return function.takeError();
    program.functions.push_back(std::move(*function));
  }
  if (program.functions.empty())
    return fail("the module has no exec.func to write");
  if (llvm::Error error = describeFacts(module, program))
    return error;
  return description;
}
