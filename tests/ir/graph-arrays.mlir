// Operators on arrays, dims of all three kinds and control flow print as they are read.
// RUN: kiln-opt %s | kiln-opt | FileCheck %s

// CHECK: graph.dim @n in[1, 8]
graph.dim @n in[1, 8]
// CHECK: graph.dim @m in[2, 16] is #{{.*}}
graph.dim @m in[2, 16] is affine_map<()[s0] -> (s0 * 2)>
// CHECK: graph.dim @c in[0, 8] computed
graph.dim @c in[0, 8] computed

// CHECK-LABEL: graph.func @main
graph.func @main(%x: tensor<?x4xf32, #graph.dims<@n>> {graph.name = "x"}, %f: tensor<i1> {graph.name = "f"},
                 %s: tensor<1xi64> {graph.name = "s"})
    -> (tensor<?x4xf32, #graph.dims<@n>> {graph.name = "y"}) {
  // CHECK: graph.compute "tile"(%{{.*}}) {} : (tensor<?x4xf32, #graph.dims<@n>>) -> tensor<?x4xf32, #graph.dims<@m>>
  %t = graph.compute "tile"(%x) {} : (tensor<?x4xf32, #graph.dims<@n>>) -> tensor<?x4xf32, #graph.dims<@m>>
  // CHECK: graph.set_dims [@c] to %{{.*}} : tensor<1xi64>
  graph.set_dims [@c] to %s : tensor<1xi64>
  // CHECK: graph.if %{{.*}} : tensor<i1> -> (tensor<?x4xf32, #graph.dims<@n>>) {
  %y = graph.if %f : tensor<i1> -> (tensor<?x4xf32, #graph.dims<@n>>) {
    %a = graph.compute "relu"(%x) {} : (tensor<?x4xf32, #graph.dims<@n>>) -> tensor<?x4xf32, #graph.dims<@n>>
    graph.yield %a : tensor<?x4xf32, #graph.dims<@n>>
  } else {
    graph.yield %x : tensor<?x4xf32, #graph.dims<@n>>
  }
  // CHECK: graph.loop %{{.*}}, %{{.*}} : tensor<i1>, tensor<?x4xf32, #graph.dims<@n>> -> (tensor<i1>, tensor<?x4xf32, #graph.dims<@n>>) {
  %g, %z = graph.loop %f, %y : tensor<i1>, tensor<?x4xf32, #graph.dims<@n>> -> (tensor<i1>, tensor<?x4xf32, #graph.dims<@n>>) {
  ^bb0(%p: tensor<i1>, %q: tensor<?x4xf32, #graph.dims<@n>>):
    %r = graph.compute "not"(%p) {} : (tensor<i1>) -> tensor<i1>
    graph.yield %r, %q : tensor<i1>, tensor<?x4xf32, #graph.dims<@n>>
  }
  graph.return %z : tensor<?x4xf32, #graph.dims<@n>>
}
