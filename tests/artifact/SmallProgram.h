// A planned module of one kernel and two launches, and the image that implements it: what the
// writer and the loader are tried on.
#ifndef KILN_TESTS_ARTIFACT_SMALLPROGRAM_H
#define KILN_TESTS_ARTIFACT_SMALLPROGRAM_H

#include "TestModule.h"
#include "compiler/artifact/ArtifactWriter.h"
#include "llvm/Object/ELFObjectFile.h"

namespace kiln {

/// Rows of 64 floats are multiplied by w, then by v; a cache is bound by nobody.
inline const char *smallProgramText = R"(
module attributes {
  graph.facts = {architecture = "llama", name = "small"},
  graph.language_model = {function = "decode", vocab_size = 512 : i64, context_length = 256 : i64,
                          page_size = 64 : i64, bos_token = 1 : i64, eos_tokens = [2 : i64, 3 : i64],
                          add_bos = true, temperature = 0.5 : f64, top_k = 40 : i64, top_p = 0.9 : f64}} {
  graph.dim @n in [1, 512]
  graph.dim @p in [1, 4096]
  graph.weight @w : tensor<64xf32> from [#graph.source<"w.bin", "w", offset = 0, "f16", [64]>] as "f32" "rows"
  graph.weight @same : tensor<64xf32> from [#graph.source<"w.bin", "w", offset = 0, "f16", [64]>] as "f32" "rows"
  graph.weight @unused : tensor<64xf32> from [#graph.source<"none.bin", "u", offset = 0, "f16", [64]>] as "f32" "rows"
  graph.weight @q : tensor<40x64xf32> from [#graph.source<"q.bin", "q", offset = 2, "f16", [40, 64]>] as "q4_sym_g32" "panel16"
  exec.kernel @scale_rows dims ["n", "p"] strides [64, 0, 64] {
  ^bb0(%x: tensor<?x64xf32, #graph.dims<@n>>, %w: tensor<64xf32, #graph.stored<"f32", "rows">>):
    %y = graph.mul %x, %w : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">>
    graph.yield %y : tensor<?x64xf32, #graph.dims<@n>>
  }
  exec.kernel @matmul dims ["n", "p"] strides [64, 0, 0, 48] {
  ^bb0(%x: tensor<?x64xf32, #graph.dims<@n>>, %q: tensor<40x64xf32, #graph.stored<"q4_sym_g32", "panel16">>,
       %c: !graph.cache<layers = 3, kv_heads = 2, head_dim = 8, page_size = 64, pages = @p, f32>):
    %y = graph.matmul %x, %q : tensor<?x64xf32, #graph.dims<@n>>, tensor<40x64xf32, #graph.stored<"q4_sym_g32", "panel16">> -> tensor<?x40xf32, #graph.dims<@n>>
    graph.yield %y : tensor<?x40xf32, #graph.dims<@n>>
  }
  exec.func @decode dims [#exec.dim<"n" in [1, 512]>, #exec.dim<"p" in [1, 4096]>]
      attributes {arena_bytes = affine_map<()[n, p] -> (n * 448, 1024)>, lower_bound_bytes = affine_map<()[n, p] -> (n * 448)>} {
    %x = exec.input "x" : tensor<?x64xf32, #graph.dims<@n>>
    %slots = exec.input "slots" {index_limit = affine_map<()[n, p] -> (p * 64)>} : tensor<?xi32, #graph.dims<@n>>
    %kv = exec.state "kv_cache" : !graph.cache<layers = 3, kv_heads = 2, head_dim = 8, page_size = 64, pages = @p, f32>
    %w = exec.weight @w : tensor<64xf32, #graph.stored<"f32", "rows">>
    %w2 = exec.weight @same : tensor<64xf32, #graph.stored<"f32", "rows">>
    %q = exec.weight @q : tensor<40x64xf32, #graph.stored<"q4_sym_g32", "panel16">>
    %a = exec.buffer stride 64 bytes affine_map<()[n, p] -> (n * 256)> at affine_map<()[n, p] -> (0)> : tensor<?x64xf32, #graph.dims<@n>>
    %b = exec.buffer stride 48 bytes affine_map<()[n, p] -> (n * 192)> at affine_map<()[n, p] -> (n * 256)> : tensor<?x40xf32, #graph.dims<@n>>
    %y = exec.output "y" : tensor<?x64xf32, #graph.dims<@n>>
    exec.launch @scale_rows(%x, %w : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">>) -> (%a : tensor<?x64xf32, #graph.dims<@n>>) loc("model.first")
    exec.barrier
    exec.launch @matmul(%a, %q, %kv : tensor<?x64xf32, #graph.dims<@n>>, tensor<40x64xf32, #graph.stored<"q4_sym_g32", "panel16">>, !graph.cache<layers = 3, kv_heads = 2, head_dim = 8, page_size = 64, pages = @p, f32>) -> (%b : tensor<?x40xf32, #graph.dims<@n>>) {layers = array<i64: 2>} loc("model.layers.2")
    exec.launch @scale_rows(%a, %w2 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">>) -> (%y : tensor<?x64xf32, #graph.dims<@n>>)
  }
}
)";

inline void writeSmallSources(const TestFolder &folder) {
  std::vector<uint16_t> w(64), q(1 + 40 * 64);
  for (size_t i = 0; i < w.size(); ++i)
    w[i] = uint16_t(0x3C00 + i); // 1.0 and up
  for (size_t i = 0; i < q.size(); ++i)
    q[i] = uint16_t(0x2C00 + i * 7 % 0x900);
  folder.write("w.bin", w);
  folder.write("q.bin", q);
}

/// The image that the build made of scale_rows.c, as code generation would describe it. @matmul is
/// never run here and shares its entry.
inline KernelImage smallImage(mlir::MLIRContext *context) {
  KernelImage image;
  std::string bytes = readFile(KILN_TEST_IMAGE);
  image.elf.assign(bytes.begin(), bytes.end());
  image.target = "test";
  uint64_t entry = 0;
  auto object = llvm::object::ObjectFile::createELFObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(bytes), "image"));
  EXPECT_TRUE(bool(object));
  auto &elf = llvm::cast<llvm::object::ELFObjectFileBase>(**object);
  image.machine = elf.getEMachine();
  for (auto symbol : elf.getDynamicSymbolIterators())
    if (llvm::cantFail(symbol.getName()) == "scale_rows")
      entry = llvm::cantFail(symbol.getAddress());
  EXPECT_NE(entry, 0u);
  mlir::AffineExpr n = mlir::getAffineSymbolExpr(0, context);
  mlir::AffineMap rows = mlir::AffineMap::get(0, 2, n),
                  nothing = mlir::AffineMap::get(0, 2, mlir::getAffineConstantExpr(0, context));
  image.kernels = {
      {"scale_rows", entry, rows, nothing, 0, "reference", {"fast: not for rows of 64"}},
      {"matmul", entry, nothing, nothing, 0, "reference", {}}};
  return image;
}

} // namespace kiln

#endif
