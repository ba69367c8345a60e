// Builds the one function of an encoder: n tokens of any mix of texts, each wholly in the call, to
// their last hidden states. Attention reads keys and values through pages, as a decoder's does, so
// that it takes the same kernels; but a layer's are read by that layer alone, so that all layers
// share the pages of one, which hold nothing between calls.
#include "compiler/import/BuildEncoder.h"
#include "compiler/import/LayerBuilder.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {
class EncoderBuilder : public LayerBuilder {
public:
  using LayerBuilder::LayerBuilder;

  OwningOpRef<ModuleOp> build() {
    declareDim("n", 1, std::max(options.maxTokens, config.contextLength)); // tokens
    declareDim("s", 1, mostSequences);
    declareDim("b", 1, getBlocks()); // columns of the block table
    declareDim("p", 1, mostPages);
    buildBody(declare());
    return std::move(module);
  }

private:
  FuncOp declare() {
    Type i32 = b.getI32Type();
    SmallVector<Argument> arguments = {
        {"tokens", typed(i32, "n"), b.getAffineConstantExpr(config.vocabulary)},
        {"positions", typed(i32, "n"), positionLimit()},
        {"slots", typed(i32, "n"), dim("s")},
        {"block_table", blockTable(), dim("p")},
        {"lengths", typed(i32, "s"), positionLimit() + 1},
        {"keys_and_values", cacheOf(1), {}},
    };
    if (plan.tokenTypes)
      arguments.push_back(
          {"token_types", typed(i32, "n"), b.getAffineConstantExpr(config.tokenTypes)});
    return declareFunction("encode", arguments, "hidden_states", activation(config.hidden));
  }

  void buildBody(FuncOp function) {
    Block::BlockArgListType arguments = function.getBody().getArguments();
    inputs = {arguments[0],
              arguments[1],
              arguments[2],
              arguments[3],
              arguments[5],
              arguments[4],
              plan.tokenTypes ? Value(arguments[6]) : Value()};
    Value x = buildEmbedding(); // [n, hidden]
    for (auto [number, layer] : llvm::enumerate(plan.layers))
      x = buildLayer(layer, int64_t(number), x);
    ReturnOp::create(b, locate("encode"), x);
  }
};
} // namespace

OwningOpRef<ModuleOp> kiln::buildEncoder(const DecoderConfig &config, const DecoderPlan &plan,
                                         const ModelTensors &tensors, const ImportOptions &options,
                                         MLIRContext &context) {
  return EncoderBuilder(config, plan, tensors, options, context).build();
}
