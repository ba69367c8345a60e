// Builds the one language-model function of a decoder, for every family. After it the module holds
// the five dims, one graph.weight for each tensor that is used, and graph.func @decode.
#include "compiler/import/BuildDecoder.h"
#include "compiler/import/LayerBuilder.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {
class DecoderBuilder : public LayerBuilder {
public:
  using LayerBuilder::LayerBuilder;

  OwningOpRef<ModuleOp> build() {
    int64_t maxTokens = std::min(options.maxTokens, config.contextLength);
    declareDim("n", 1, maxTokens); // tokens
    declareDim("m", 0, maxTokens); // rows of logits wanted
    declareDim("s", 1, mostSequences);
    declareDim("b", 1, getBlocks()); // columns of the block table
    declareDim("p", 1, mostPages);
    buildBody(declare());
    return std::move(module);
  }

private:
  FuncOp declare() {
    Type i32 = b.getI32Type();
    const Argument arguments[] = {
        {"tokens", typed(i32, "n"), b.getAffineConstantExpr(config.vocabulary)},
        {"positions", typed(i32, "n"), positionLimit()},
        {"slots", typed(i32, "n"), dim("s")},
        {"block_table", blockTable(), dim("p")},
        {"out_rows", typed(i32, "m"), dim("n")},
        {"kv_cache", cacheOf(config.layers), {}},
    };
    return declareFunction("decode", arguments, "logits", activation(config.vocabulary, "m"));
  }

  void buildBody(FuncOp function) {
    Block::BlockArgListType arguments = function.getBody().getArguments();
    inputs = {arguments[0], arguments[1], arguments[2], arguments[3], arguments[5], {}, {}};
    Value x = buildEmbedding(); // [n, hidden]
    for (auto [number, layer] : llvm::enumerate(plan.layers))
      x = buildLayer(layer, int64_t(number), x);
    // Only the rows asked for go on: [m, hidden], then [m, vocabulary].
    x = GatherOp::create(b, locate("out_rows"), activation(config.hidden, "m"), x, arguments[4]);
    Value logits = buildHead(buildNorm(plan.finalNorm, x));
    if (config.logitSoftcap != 0)
      logits = SoftcapOp::create(b, locate("logits"), logits.getType(), logits,
                                 b.getF64FloatAttr(config.logitSoftcap));
    ReturnOp::create(b, locate("decode"), logits);
  }

  Value buildHead(Value x) {
    if (plan.head)
      return buildLinear(*plan.head, x);
    Location location = locate(family.modules.head);
    return MatmulOp::create(b, location, activation(config.vocabulary, "m"), x,
                            use(plan.embedding + ".weight", location));
  }
};
} // namespace

OwningOpRef<ModuleOp> kiln::buildDecoder(const DecoderConfig &config, const DecoderPlan &plan,
                                         const ModelTensors &tensors, const ImportOptions &options,
                                         MLIRContext &context) {
  return DecoderBuilder(config, plan, tensors, options, context).build();
}
