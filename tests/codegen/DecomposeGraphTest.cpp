// decompose-graph on functions with dynamic and static rows: the result verifies, and of the graph
// dialect only functions, weights, their values and attention are left.
#include "codegen/reference/Passes.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

using namespace kiln;

/// A function of every op that has a decomposition; `rows` is "?" or a number and `dims` the
/// encoding.
static std::string everyOp(const std::string &rows, const std::string &dims) {
  auto f32 = [&](int columns) {
    return "tensor<" + rows + "x" + std::to_string(columns) + "xf32" + dims + ">";
  };
  std::string ids = "tensor<" + rows + "xi32" + dims + ">", x = f32(8);
  std::string table = "tensor<20x8xf32, #graph.stored<\"q4_sym_g32\", \"panel16\">>";
  std::string weight = "tensor<12x8xf32, #graph.stored<\"q8_sym_g32\", \"panel16\">>";
  std::string vector = "tensor<8xf32, #graph.stored<\"f32\", \"rows\">>";
  std::string text =
      "graph.func @f(%ids: " + ids + ", %t: " + table + ", %w: " + weight + ", %v: " + vector +
      ") -> " + f32(4) + " {\n%0 = graph.embed %ids, %t : " + ids + ", " + table + " -> " + x +
      "\n%1 = graph.gather %0, %ids : " + x + ", " + ids + " -> " + x +
      "\n%2 = graph.rms_norm %1, %v eps = 1.0e-5 : " + x + ", " + vector +
      "\n%3 = graph.layer_norm %2, %v, %v eps = 1.0e-5 : " + x + ", " + vector + ", " + vector +
      "\n%4 = graph.rope %3, %ids {head_dim = 4, rotary_dim = 2, theta = 1.0e4} : " + x + ", " +
      ids + "\n";
  int last = 4;
  auto emit = [&](const std::string &op, const std::string &operand, const std::string &types) {
    text += "%" + std::to_string(last + 1) + " = graph." + op + " %" + std::to_string(last) +
            operand + " : " + types + "\n";
    ++last;
  };
  for (const char *op : {"add", "sub", "mul", "div"}) {
    emit(op, ", %0", x + ", " + x);
    emit(op, ", %v", x + ", " + vector);
  }
  for (const char *op : {"neg", "exp", "tanh", "sigmoid", "silu", "relu", "gelu", "gelu_tanh"})
    emit(op, "", x);
  emit("matmul", ", %w", x + ", " + weight + " -> " + f32(12));
  emit("slice", "[3, 4]", f32(12) + " -> " + f32(4));
  return text + "graph.return %" + std::to_string(last) + " : " + f32(4) + "\n}\n";
}

static void decompose(const std::string &text) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<graph::GraphDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  ASSERT_TRUE(module) << text;
  mlir::PassManager passes(&context);
  passes.enableVerifier(true);
  passes.addPass(createDecomposeGraphPass());
  ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
  int dequantized = 0;
  module->walk([&](mlir::Operation *op) {
    EXPECT_FALSE(llvm::isa<graph::DecomposableOpInterface>(op))
        << op->getName().getStringRef().str();
    dequantized += llvm::isa<graph::DequantizeOp>(op);
  });
  EXPECT_EQ(dequantized, 9) << "one for each weight that an op reads";
}

TEST(DecomposeGraph, DynamicRows) {
  decompose("graph.dim @n in [1, 8]\n" + everyOp("?", ", #graph.dims<@n>"));
}

TEST(DecomposeGraph, StaticRows) { decompose(everyOp("5", "")); }
