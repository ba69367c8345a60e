// RUN: kiln-opt %s | kiln-opt | FileCheck %s

// What model families vary is kept by the printer: windows, limits and biases of scores, whole sequences, norms
// of heads, magnitudes of rotations, factors, experts.
// CHECK: graph.weight @w : tensor<4xf32> from {{.*}} via [#graph.offset<1.000000e+00 : f64>]
// CHECK: graph.rms_norm %{{.*}}, %{{.*}} eps = 1.000000e-05 : tensor<?x8xf32, {{.*}}, tensor<4xf32
// CHECK: graph.rope {{.*}}magnitude = 1.500000e+00
// CHECK: graph.attention {{.*}}slopes = array<f64: 5.000000e-01, 2.500000e-01>, softcap = 5.000000e+01 : f64, window = 24 : i64
// CHECK: graph.attention {{.*}} of %{{.*}} : tensor<?xi32, #graph.dims<@n>> {head_dim
// CHECK: graph.scale %{{.*}} by 3.000000e+00
// CHECK: graph.softcap %{{.*}} by 3.000000e+01
// CHECK: graph.route %{{.*}} {normalize = true, used = 2 : i64}
// CHECK: graph.experts_matmul {{.*}} {experts = 3 : i64, used = 2 : i64}
// CHECK: graph.combine
!x = tensor<?x8xf32, #graph.dims<@n>>
!i = tensor<?xi32, #graph.dims<@n>>
!t = tensor<?x?xi32, #graph.dims<@n, @n>>
!c = !graph.cache<layers = 1, kv_heads = 2, head_dim = 4, page_size = 64, pages = @n, f16>
!l = tensor<?x3xf32, #graph.dims<@n>>
!r = tensor<?x4xf32, #graph.dims<@n>>
!e = tensor<6x8xf32>
graph.dim @n in [1, 8]
graph.weight @w : tensor<4xf32> from [#graph.source<"f", "w", offset = 0, "f32", [4]>] via [#graph.offset<1.0>] as "f32" "rows"
graph.func @f(%x: !x {graph.name = "x"}, %p: !i {graph.name = "p"}, %t: !t {graph.name = "t"}, %c: !c {graph.name = "c"}, %l: !l {graph.name = "l"}, %e: !e {graph.name = "e"}) -> tensor<?x2xf32, #graph.dims<@n>> {
  %w = graph.use @w : tensor<4xf32, #graph.stored<"f32", "rows">>
  %h = graph.rms_norm %x, %w eps = 1.0e-5 : !x, tensor<4xf32, #graph.stored<"f32", "rows">>
  %q = graph.rope %h, %p {head_dim = 4 : i64, rotary_dim = 4 : i64, theta = 1.0e4 : f64, magnitude = 1.5 : f64} : !x, !i
  %a = graph.attention %q, %x, %x at %p, %p, %t in %c {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64, window = 24 : i64, softcap = 50.0 : f64, slopes = array<f64: 0.5, 0.25>} : !x, !x, !x, !i, !i, !t, !c -> !x
  %b = graph.attention %a, %x, %x at %p, %p, %t in %c of %p : !i {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
  %s = graph.scale %b by 3.0 : !x
  %k = graph.softcap %s by 30.0 : !x
  %r = graph.route %l {used = 2 : i64, normalize = true} : !l -> !r
  %m = graph.experts_matmul %k, %r, %e {experts = 3 : i64, used = 2 : i64} : !x, !r, !e -> !r
  %y = graph.combine %m, %r : !r, !r -> tensor<?x2xf32, #graph.dims<@n>>
  graph.return %y : tensor<?x2xf32, #graph.dims<@n>>
}
