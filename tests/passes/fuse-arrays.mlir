// Array ops: cheap ones join their consumer, what is needed many times is computed once.
// RUN: kiln-opt %s --fuse-regions | FileCheck %s

// CHECK-LABEL: graph.func @main
graph.func @main(%x: tensor<4x8xf32> {graph.name = "x"}, %w: tensor<8x8xf32> {graph.name = "w"})
    -> (tensor<4xf32> {graph.name = "y"}) {
  // The product's operand and its result stay apart; the reduction takes what is before it.
  // CHECK: graph.fused
  // CHECK-NEXT: graph.compute "exp"
  // CHECK-NEXT: graph.yield
  // CHECK: graph.fused
  // CHECK-NEXT: graph.compute "matmul"
  // CHECK-NEXT: graph.yield
  // CHECK: graph.fused
  // CHECK-NEXT: graph.compute "relu"
  // CHECK-NEXT: graph.compute "neg"
  // CHECK-NEXT: graph.compute "reduce_sum"
  // CHECK-NEXT: graph.yield
  %e = graph.compute "exp"(%x) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %m = graph.compute "matmul"(%e, %w) {} : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %r = graph.compute "relu"(%m) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %n = graph.compute "neg"(%r) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = graph.compute "reduce_sum"(%n) {axes = array<i64: 1>, keep_dims = 0 : i64} : (tensor<4x8xf32>) -> tensor<4xf32>
  graph.return %s : tensor<4xf32>
}
