// RUN: kiln-opt --quantize-weights='format=q8 keep-blocks=true' %s | FileCheck %s --check-prefix=KEEP
// RUN: kiln-opt --quantize-weights='format=q8' %s | FileCheck %s --check-prefix=ALL

// A weight whose sources are blocks of one type keeps them, joined or not, under keep-blocks alone; what is
// mixed or transposed does not.
// KEEP: @one : {{.*}} as "q4_asym_g32_k256"
// KEEP: @joined : {{.*}} as "q5_sym_g32"
// KEEP: @mixed : {{.*}} as "q8_sym_g32"
// KEEP: @turned : {{.*}} as "q8_sym_g32"
// KEEP: graph.use @one : tensor<256x256xf32, #graph.stored<"q4_asym_g32_k256", "rows">>
// ALL: @one : {{.*}} as "q8_sym_g32"
!x = tensor<?x256xf32, #graph.dims<@n>>
!w = tensor<256x256xf32, #graph.stored<"f32", "rows">>
graph.dim @n in [1, 8]
graph.weight @one : tensor<256x256xf32> from [#graph.source<"f", "a", offset = 0, "gguf.q4_k", [256, 256]>] as "f32" "rows"
graph.weight @joined : tensor<256x256xf32> from [#graph.source<"f", "b", offset = 0, "gguf.q5_0", [128, 256]>, #graph.source<"f", "c", offset = 0, "gguf.q5_0", [128, 256]>] via [#graph.concat] as "f32" "rows"
graph.weight @mixed : tensor<256x256xf32> from [#graph.source<"f", "d", offset = 0, "gguf.q5_0", [128, 256]>, #graph.source<"f", "e", offset = 0, "gguf.q8_0", [128, 256]>] via [#graph.concat] as "f32" "rows"
graph.weight @turned : tensor<256x256xf32> from [#graph.source<"f", "g", offset = 0, "gguf.q5_0", [256, 256]>] via [#graph.transpose] as "f32" "rows"
graph.func @f(%x: !x) -> !x {
  %w0 = graph.use @one : !w
  %w1 = graph.use @joined : !w
  %w2 = graph.use @mixed : !w
  %w3 = graph.use @turned : !w
  %a = graph.matmul %x, %w0 : !x, !w -> !x
  %b = graph.matmul %a, %w1 : !x, !w -> !x
  %c = graph.matmul %b, %w2 : !x, !w -> !x
  %d = graph.matmul %c, %w3 : !x, !w -> !x
  graph.return %d : !x
}
