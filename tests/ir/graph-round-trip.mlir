// RUN: kiln-opt %s | kiln-opt | FileCheck %s

// What the parser reads the printer writes: declarations, a region, and every kind of op.
// CHECK: graph.dim @n in[1, 8]
// CHECK: graph.weight @w : tensor<4x4xf32> from [#graph.source<"f", "w", offset = 0, "bf16", [2, 4]>, #graph.source<"f", "v", offset = 16, "bf16", [2, 4]>] via [#graph.concat] as "bf16" "rows"
// CHECK: graph.func @f(%[[X:.*]]: tensor<?x4xf32, #graph.dims<@n>> {graph.name = "x"}
// CHECK: graph.use @w : tensor<4x4xf32, #graph.stored<"bf16", "rows">>
// CHECK: graph.constant dense<1.000000e+00> : tensor<4xf32>
// CHECK: graph.fused (%[[A:.*]] = %[[X]] : {{.*}}) -> (tensor<?x4xf32, #graph.dims<@n>>) {
// CHECK: graph.layer_norm %[[A]], %{{.*}}, %{{.*}} eps = 1.000000e-05
// CHECK: graph.rope {{.*}} {head_dim = 4 : i64, inv_freq = array<f64: 1.000000e+00, 5.000000e-01>
// CHECK: graph.yield
// CHECK: graph.attention
// CHECK: graph.return
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"bf16", "rows">>
!i = tensor<?xi32, #graph.dims<@n>>
!t = tensor<?x?xi32, #graph.dims<@n, @n>>
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @n, f16>
graph.dim @n in [1, 8]
graph.weight @w : tensor<4x4xf32> from [#graph.source<"f", "w", offset = 0, "bf16", [2, 4]>, #graph.source<"f", "v", offset = 16, "bf16", [2, 4]>] via [#graph.concat] as "bf16" "rows"
graph.func @f(%x: !x {graph.name = "x"}, %p: !i {graph.name = "p", graph.index_limit = affine_map<()[n] -> (n * 64)>}, %t: !t {graph.name = "t"}, %c: !c {graph.name = "c"}) -> (!x {graph.name = "y"}) {
  %w = graph.use @w : !w
  %g = graph.constant dense<1.0> : tensor<4xf32>
  %h = graph.fused (%a = %x : !x, %b = %g : tensor<4xf32>, %q = %p : !i) -> (!x) {
    %0 = graph.layer_norm %a, %b, %b eps = 1.0e-5 : !x, tensor<4xf32>, tensor<4xf32>
    %1 = graph.rope %0, %q {head_dim = 4 : i64, rotary_dim = 4 : i64, theta = 1.0e4 : f64, inv_freq = array<f64: 1.0, 0.5>} : !x, !i
    graph.yield %1 : !x
  }
  %m = graph.matmul %h, %w : !x, !w -> !x
  %r = graph.attention %m, %m, %m at %p, %p, %t in %c {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
  graph.return %r : !x
}
