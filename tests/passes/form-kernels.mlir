// RUN: kiln-opt --form-kernels -split-input-file -verify-diagnostics -mlir-print-debuginfo %s | FileCheck %s

// Regions of equal content share a kernel; weights are bindings; rows of arena buffers are padded to 16
// elements while outputs are dense; a launch is named after its part of the model.
!x = tensor<?x20xf32, #graph.dims<@n>>
!w = tensor<20x20xf32, #graph.stored<"f32", "panel16">>
// CHECK: #[[FIRST:.*]] = loc("layers.0")
// CHECK: exec.func @f dims [#exec.dim<"n" in[1, 8]>]
// CHECK: %[[X:.*]] = exec.input "x" {index_limit
// CHECK: %[[Y:.*]] = exec.output "y"
// CHECK: %[[A:.*]] = exec.weight @a
// CHECK: %[[T:.*]] = exec.buffer stride 32 bytes #{{.*}}
// CHECK: exec.launch @matmul_20x20(%[[X]], %[[A]] {{.*}}) -> (%[[T]] {{.*}}) loc(#[[FIRST]])
// CHECK: exec.launch @matmul_20x20_2(%[[T]]
// CHECK: exec.launch @matmul_20x20_2(
// CHECK: exec.launch @matmul_20x20_3(%{{.*}} -> (%[[Y]]
// CHECK: exec.kernel @matmul_20x20 dims ["n"] strides [20, 0, 32]
// CHECK: exec.kernel @matmul_20x20_2 dims ["n"] strides [32, 0, 32]
// CHECK: exec.kernel @matmul_20x20_3 dims ["n"] strides [32, 0, 20]
// CHECK-NOT: exec.kernel
graph.dim @n in [1, 8]
graph.weight @a : tensor<20x20xf32> from [#graph.source<"f", "a", offset = 0, "f32", [20, 20]>] as "f32" "panel16"
graph.weight @b : tensor<20x20xf32> from [#graph.source<"f", "b", offset = 0, "f32", [20, 20]>] as "f32" "panel16"
graph.func @f(%x: !x {graph.name = "x", graph.index_limit = affine_map<()[n] -> (n)>}) -> (!x {graph.name = "y"}) {
  %a = graph.use @a : !w
  %b = graph.use @b : !w
  %0 = graph.fused (%i = %x : !x, %w = %a : !w) -> (!x) {
    %r = graph.matmul %i, %w : !x, !w -> !x
    graph.yield %r : !x
  } loc("layers.0")
  %1 = graph.fused (%i = %0 : !x, %w = %b : !w) -> (!x) {
    %r = graph.matmul %i, %w : !x, !w -> !x
    graph.yield %r : !x
  } loc("layers.1")
  %2 = graph.fused (%i = %1 : !x, %w = %a : !w) -> (!x) {
    %r = graph.matmul %i, %w : !x, !w -> !x
    graph.yield %r : !x
  } loc("layers.2")
  %3 = graph.fused (%i = %2 : !x, %w = %b : !w) -> (!x) {
    %r = graph.matmul %i, %w : !x, !w -> !x
    graph.yield %r : !x
  } loc("layers.3")
  graph.return %3 : !x
}

// -----

// Attentions of two layers share a kernel: the layer is in the launch. Reads come in order of use; the last
// write is a workspace.
!i = tensor<?xi32, #graph.dims<@n>>
!t = tensor<?x?xi32, #graph.dims<@n, @n>>
!x = tensor<?x4xf32, #graph.dims<@n>>
!c = !graph.cache<layers = 2, kv_heads = 1, head_dim = 4, page_size = 64, pages = @n, f32>
// CHECK: exec.launch @attention_1x4(%[[X:[0-9]+]], %[[P:[0-9]+]], %{{[0-9]+}}, %{{[0-9]+}} {{.*}}) -> {{.*}} {layers = array<i64: 0>}
// CHECK: exec.launch @attention_1x4{{.*}} {layers = array<i64: 1>}
// CHECK: exec.kernel @attention_1x4 dims ["n"] strides [4, 1, 0, 0, 4, 48]
// CHECK: layer = 0
// CHECK: %[[W:.*]] = graph.workspace : tensor<?x48xf32, #graph.dims<@n>>
// CHECK: graph.yield %{{.*}}, %[[W]]
// CHECK-NOT: exec.kernel
graph.dim @n in [1, 8]
graph.func @f(%x: !x {graph.name = "x"}, %p: !i {graph.name = "p"}, %t: !t {graph.name = "t"}, %c: !c {graph.name = "c"}) -> (!x, !x) {
  %0 = graph.fused (%tt = %t : !t, %cc = %c : !c, %xx = %x : !x, %pp = %p : !i) -> (!x) {
    %a = graph.attention %xx, %xx, %xx at %pp, %pp, %tt in %cc {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
    graph.yield %a : !x
  }
  %1 = graph.fused (%tt = %t : !t, %cc = %c : !c, %xx = %x : !x, %pp = %p : !i) -> (!x) {
    %a = graph.attention %xx, %xx, %xx at %pp, %pp, %tt in %cc {layer = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
    graph.yield %a : !x
  }
  graph.return %0, %1 : !x, !x
}

// -----

// An op outside a region is an error.
!x = tensor<?x4xf32, #graph.dims<@n>>
graph.dim @n in [1, 8]
graph.func @f(%x: !x {graph.name = "x"}) -> !x {
  // expected-error @+1 {{is in no region; run fuse-regions first}}
  %0 = graph.relu %x : !x
  %1 = graph.fused (%i = %0 : !x) -> (!x) {
    %r = graph.relu %i : !x
    graph.yield %r : !x
  }
  graph.return %1 : !x
}

// -----

// A result that is an input is an error: no launch would write it.
graph.func @f(%x: tensor<4x4xf32> {graph.name = "x"}) -> tensor<4x4xf32> {
  // expected-error @+1 {{result 0 is not computed by a region}}
  graph.return %x : tensor<4x4xf32>
}
