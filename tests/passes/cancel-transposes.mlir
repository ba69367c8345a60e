// Transposes move past elementwise ops and reductions and cancel; what is left is a reshape.
// RUN: kiln-opt %s --cancel-transposes | FileCheck %s

graph.func @main(%x: tensor<1x4x6x8xf32> {graph.name = "x"}, %b: tensor<8x1x1xf32> {graph.name = "b"})
    -> (tensor<1x4x6x8xf32> {graph.name = "y"}, tensor<1x8x1x1xf32> {graph.name = "z"}) {
  // CHECK: %[[B:.*]] = graph.compute "reshape"(%arg1) {} : (tensor<8x1x1xf32>) -> tensor<1x1x1x8xf32>
  // CHECK: %[[M:.*]] = graph.compute "add"(%arg0, %[[B]])
  %t = graph.compute "transpose"(%x) {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x4x6x8xf32>) -> tensor<1x8x4x6xf32>
  %m = graph.compute "add"(%t, %b) {} : (tensor<1x8x4x6xf32>, tensor<8x1x1xf32>) -> tensor<1x8x4x6xf32>
  %u = graph.compute "transpose"(%m) {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x8x4x6xf32>) -> tensor<1x4x6x8xf32>
  // CHECK: %[[S:.*]] = graph.compute "reduce_sum"(%[[M]]) {axes = array<i64: 1, 2>, keep_dims = 1 : i64}
  %s = graph.compute "reduce_sum"(%m) {axes = array<i64: 2, 3>, keep_dims = 1 : i64} : (tensor<1x8x4x6xf32>) -> tensor<1x8x1x1xf32>
  // CHECK: %[[R:.*]] = graph.compute "reshape"(%[[S]]) {} : (tensor<1x1x1x8xf32>) -> tensor<1x8x1x1xf32>
  // CHECK: graph.return %[[M]], %[[R]]
  graph.return %u, %s : tensor<1x4x6x8xf32>, tensor<1x8x1x1xf32>
}

// What a full tensor in another order meets stays as it is: moving the transpose would cost another.
// CHECK-LABEL: graph.func @meets_another_order
graph.func @meets_another_order(%x: tensor<1x4x6x8xf32> {graph.name = "x"}, %y: tensor<1x8x4x6xf32> {graph.name = "y"})
    -> (tensor<1x8x4x6xf32> {graph.name = "z"}) {
  // CHECK: %[[T:.*]] = graph.compute "transpose"(%arg0)
  // CHECK-NEXT: graph.compute "add"(%[[T]], %arg1)
  %t = graph.compute "transpose"(%x) {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x4x6x8xf32>) -> tensor<1x8x4x6xf32>
  %m = graph.compute "add"(%t, %y) {} : (tensor<1x8x4x6xf32>, tensor<1x8x4x6xf32>) -> tensor<1x8x4x6xf32>
  graph.return %m : tensor<1x8x4x6xf32>
}
