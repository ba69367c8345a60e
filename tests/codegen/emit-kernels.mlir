// RUN: kiln-opt --emit-kernels=target=x86-64-v4-vnni %s | FileCheck %s

// A matmul with a residual becomes one function: rows prepared as i8, then for each panel a tile loop.
// CHECK-LABEL: func.func @project(%{{.*}}: !llvm.ptr)
// CHECK: math.roundeven
// CHECK: exec.tile_loop {{.*}} tiles {{\[}}8, 4, 2, 1{{\]}}
// CHECK: exec.tile_dot {{.*}} "q8_sym_g32" "vpdpbusd" depth 64
// CHECK: exec.tile_load {{.*}} stride 32 columns 32
// CHECK: graph.add {{.*}} : tensor<?x16xf32>, tensor<?x16xf32>
// CHECK: exec.tile_store
exec.kernel @project dims ["n"] strides [64, 0, 32, 32] {
^bb0(%x: tensor<?x64xf32, #graph.dims<@n>>, %w: tensor<32x64xf32, #graph.stored<"q8_sym_g32", "panel16">>, %r: tensor<?x32xf32, #graph.dims<@n>>):
  %m = graph.matmul %x, %w : tensor<?x64xf32, #graph.dims<@n>>, tensor<32x64xf32, #graph.stored<"q8_sym_g32", "panel16">> -> tensor<?x32xf32, #graph.dims<@n>>
  %y = graph.add %r, %m : tensor<?x32xf32, #graph.dims<@n>>, tensor<?x32xf32, #graph.dims<@n>>
  graph.yield %y : tensor<?x32xf32, #graph.dims<@n>>
}
