// What the graphs of decoders and encoders share: declarations, weights, and the layers, for every
// family: the record's fields choose norm, position, activation, biases and weight orientation.
#ifndef KILN_COMPILER_IMPORT_LAYERBUILDER_H
#define KILN_COMPILER_IMPORT_LAYERBUILDER_H

#include "compiler/import/DecoderPlan.h"
#include "compiler/import/ImportModel.h"
#include "ir/Graph/GraphDialect.h"

namespace kiln {

/// Builds one function of a model, in this order: dims, the function, its body. Weights are
/// declared before the function at their first use.
class LayerBuilder {
public:
  LayerBuilder(const DecoderConfig &config, const DecoderPlan &plan, const ModelTensors &tensors,
               const ImportOptions &options, mlir::MLIRContext &context);

protected:
  static constexpr int64_t mostSequences = 256, mostPages = 1 << 20;

  // ---- Declarations ----

  mlir::Location locate(const llvm::Twine &name);
  /// Pages of the longest sequence.
  int64_t getBlocks() const;
  void declareDim(llvm::StringRef name, int64_t min, int64_t max);
  mlir::FlatSymbolRefAttr symbol(llvm::StringRef dim);
  mlir::AffineExpr dim(llvm::StringRef name);
  /// [rows, columns…], named by the dim of the rows.
  mlir::RankedTensorType typed(mlir::Type element, llvm::StringRef rows,
                               llvm::ArrayRef<int64_t> columns = {});
  /// Activations: [rows, columns] of f32.
  mlir::RankedTensorType activation(int64_t columns, llvm::StringRef rows = "n");
  /// i32 [s, b].
  mlir::RankedTensorType blockTable();
  graph::CacheType cacheOf(int64_t layers);
  /// What positions stay below.
  mlir::AffineExpr positionLimit();

  struct Argument {
    llvm::StringRef name;
    mlir::Type type;
    mlir::AffineExpr limit; // null: no indices
  };
  /// Sets the insertion point to the start of its body.
  graph::FuncOp declareFunction(llvm::StringRef name, llvm::ArrayRef<Argument> arguments,
                                llvm::StringRef resultName, mlir::Type result);

  // ---- Modules ----

  mlir::Value buildLinear(const LinearPlan &linear, mlir::Value input);
  mlir::Value buildNorm(const NormPlan &norm, mlir::Value input);
  mlir::Value buildNorm(const std::optional<NormPlan> &norm, mlir::Value input) {
    return norm ? buildNorm(*norm, input) : input;
  }
  /// Rows of a module's table, [n, hidden]. The first `firstRow` rows of the table are left out.
  mlir::Value buildTable(const std::string &module, mlir::Value ids, int64_t firstRow = 0);
  /// The sum of the tables, normalised where the family does.
  mlir::Value buildEmbedding();
  mlir::Value buildLayer(const LayerPlan &layer, int64_t number, mlir::Value x);
  /// A weight declared at first use.
  mlir::Value use(const std::string &tensorName, mlir::Location location);

  const DecoderConfig &config;
  const DecoderPlan &plan;
  const Family &family;
  const ImportOptions &options;
  mlir::OpBuilder b;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Arguments of the function that layers read, set before they are built. Causal attention has no
  /// lengths.
  struct Inputs {
    mlir::Value tokens, positions, slots, blockTable, cache, lengths, tokenTypes;
  } inputs;

private:
  /// How a weight is made of tensors.
  struct Making {
    bool transposed = false;                 // the file has [in, out]
    llvm::ArrayRef<OutputRange> ranges = {}; // rows of each tensor; all where empty
    double offset = 0;                       // added to every value
  };
  mlir::Value use(llvm::ArrayRef<std::string> tensorNames, const std::string &name,
                  mlir::Location location, const Making &making);
  mlir::Value useOf(const LinearPlan &linear, llvm::StringRef tensor, mlir::Location location);
  void addSources(const std::string &tensorName, const Making &making,
                  llvm::SmallVector<int64_t> &shape,
                  llvm::SmallVectorImpl<mlir::Attribute> &sources);
  graph::WeightOp declareWeight(llvm::ArrayRef<std::string> tensorNames, llvm::StringRef name,
                                const Making &making);

  mlir::Value buildActivation(mlir::Location location, mlir::Value input);
  mlir::Value buildAdd(mlir::Location location, mlir::Value lhs, mlir::Value rhs);
  llvm::SmallVector<mlir::Value> buildQkv(const LayerPlan &layer, mlir::Value input);
  mlir::Value buildRope(const llvm::Twine &name, const RotaryConfig &rotary, mlir::Value input);
  mlir::Value buildAttention(const LayerPlan &layer, int64_t number, mlir::Value input);
  mlir::Value buildMlp(const LayerPlan &layer, mlir::Value input);
  mlir::Value buildExpertsMatmul(llvm::ArrayRef<LinearPlan> maps, const std::string &name,
                                 mlir::Value input, mlir::Value routes);
  mlir::Value buildExperts(const LayerPlan &layer, mlir::Value input);

  const ModelTensors &tensors;
  std::vector<std::string> dims;          // in the order of their declaration
  mlir::Operation *firstWeight = nullptr; // weights are declared before it
  std::map<std::string, graph::WeightOp> weights;
};

} // namespace kiln

#endif
