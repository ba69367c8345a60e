// RUN: kiln-opt --assign-weight-layouts %s | FileCheck %s

// Matrices are packed in panels, vectors are rows of f32, and the uses say so.
// CHECK: @w : {{.*}} as "q8_sym_g32" "panel16"
// CHECK: @b : {{.*}} as "f32" "rows"
// CHECK: graph.use @w : tensor<4x4xf32, #graph.stored<"q8_sym_g32", "panel16">>
// CHECK: graph.use @b : tensor<4xf32, #graph.stored<"f32", "rows">>
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"q8_sym_g32", "rows">>
!b = tensor<4xf32, #graph.stored<"f16", "rows">>
graph.dim @n in [1, 8]
graph.weight @w : tensor<4x4xf32> from [#graph.source<"f", "w", offset = 0, "f32", [4, 4]>] as "q8_sym_g32" "rows"
graph.weight @b : tensor<4xf32> from [#graph.source<"f", "b", offset = 64, "f16", [4]>] as "f16" "rows"
graph.func @f(%x: !x) -> !x {
  %w = graph.use @w : !w
  %b = graph.use @b : !b
  %m = graph.matmul %x, %w : !x, !w -> !x
  %r = graph.add %m, %b : !x, !b
  graph.return %r : !x
}
