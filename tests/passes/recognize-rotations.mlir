// Rotary embedding that is written out gets its name, halves or neighbours as pairs.
// RUN: kiln-opt %s --recognize-operators | FileCheck %s

// x * cos + concat(-second half, first half) * sin: the angles are there twice, which the op does not
// need.
// CHECK-LABEL: graph.func @halves
graph.func @halves(%x: tensor<2x4x3x8xf32> {graph.name = "x"}, %f: tensor<1x3x4xf32> {graph.name = "f"}) -> (tensor<2x4x3x8xf32> {graph.name = "y"}) {
  // CHECK: %[[C:.*]] = graph.compute "cos"
  // CHECK: %[[S:.*]] = graph.compute "sin"
  // CHECK: graph.compute "rotate"(%arg0, %{{.*}}, %{{.*}}) {heads_first = 1 : i64, interleaved = 0 : i64} : (tensor<2x4x3x8xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>)
  // CHECK-NEXT: graph.return
  %ff = graph.compute "concat"(%f, %f) {axis = 2 : i64} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x8xf32>
  %c3 = graph.compute "cos"(%ff) {} : (tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %s3 = graph.compute "sin"(%ff) {} : (tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %c = graph.compute "reshape"(%c3) {} : (tensor<1x3x8xf32>) -> tensor<1x1x3x8xf32>
  %s = graph.compute "reshape"(%s3) {} : (tensor<1x3x8xf32>) -> tensor<1x1x3x8xf32>
  %a = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x4x3x8xf32>) -> tensor<2x4x3x4xf32>
  %b = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 4>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x4x3x8xf32>) -> tensor<2x4x3x4xf32>
  %n = graph.compute "neg"(%b) {} : (tensor<2x4x3x4xf32>) -> tensor<2x4x3x4xf32>
  %h = graph.compute "concat"(%n, %a) {axis = 3 : i64} : (tensor<2x4x3x4xf32>, tensor<2x4x3x4xf32>) -> tensor<2x4x3x8xf32>
  %p = graph.compute "mul"(%x, %c) {} : (tensor<2x4x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<2x4x3x8xf32>
  %q = graph.compute "mul"(%h, %s) {} : (tensor<2x4x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<2x4x3x8xf32>
  %y = graph.compute "add"(%p, %q) {} : (tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x8xf32>
  graph.return %y : tensor<2x4x3x8xf32>
}

// Neighbours as pairs, stacked; heads behind rows.
// CHECK-LABEL: graph.func @neighbours
graph.func @neighbours(%x: tensor<2x3x4x8xf32> {graph.name = "x"}, %c: tensor<1x3x1x4xf32> {graph.name = "c"}, %s: tensor<1x3x1x4xf32> {graph.name = "s"})
    -> (tensor<2x3x4x8xf32> {graph.name = "y"}) {
  // CHECK: graph.compute "rotate"(%arg0, %{{.*}}, %{{.*}}) {heads_first = 0 : i64, interleaved = 1 : i64}
  // CHECK-NEXT: graph.return
  %a = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 2>} : (tensor<2x3x4x8xf32>) -> tensor<2x3x4x4xf32>
  %b = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 1>, steps = array<i64: 1, 1, 1, 2>} : (tensor<2x3x4x8xf32>) -> tensor<2x3x4x4xf32>
  %ac = graph.compute "mul"(%a, %c) {} : (tensor<2x3x4x4xf32>, tensor<1x3x1x4xf32>) -> tensor<2x3x4x4xf32>
  %bs = graph.compute "mul"(%b, %s) {} : (tensor<2x3x4x4xf32>, tensor<1x3x1x4xf32>) -> tensor<2x3x4x4xf32>
  %bc = graph.compute "mul"(%b, %c) {} : (tensor<2x3x4x4xf32>, tensor<1x3x1x4xf32>) -> tensor<2x3x4x4xf32>
  %as = graph.compute "mul"(%a, %s) {} : (tensor<2x3x4x4xf32>, tensor<1x3x1x4xf32>) -> tensor<2x3x4x4xf32>
  %d = graph.compute "sub"(%ac, %bs) {} : (tensor<2x3x4x4xf32>, tensor<2x3x4x4xf32>) -> tensor<2x3x4x4xf32>
  %e = graph.compute "add"(%as, %bc) {} : (tensor<2x3x4x4xf32>, tensor<2x3x4x4xf32>) -> tensor<2x3x4x4xf32>
  %d5 = graph.compute "reshape"(%d) {} : (tensor<2x3x4x4xf32>) -> tensor<2x3x4x4x1xf32>
  %e5 = graph.compute "reshape"(%e) {} : (tensor<2x3x4x4xf32>) -> tensor<2x3x4x4x1xf32>
  %j = graph.compute "concat"(%d5, %e5) {axis = 4 : i64} : (tensor<2x3x4x4x1xf32>, tensor<2x3x4x4x1xf32>) -> tensor<2x3x4x4x2xf32>
  %y = graph.compute "reshape"(%j) {} : (tensor<2x3x4x4x2xf32>) -> tensor<2x3x4x8xf32>
  graph.return %y : tensor<2x3x4x8xf32>
}

// Cosines that may differ between the halves: left as it is.
// CHECK-LABEL: graph.func @other_angles
graph.func @other_angles(%x: tensor<2x4x3x8xf32> {graph.name = "x"}, %c: tensor<1x1x3x8xf32> {graph.name = "c"}, %s: tensor<1x1x3x8xf32> {graph.name = "s"})
    -> (tensor<2x4x3x8xf32> {graph.name = "y"}) {
  // CHECK-NOT: "rotate"
  %a = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x4x3x8xf32>) -> tensor<2x4x3x4xf32>
  %b = graph.compute "slice"(%x) {starts = array<i64: 0, 0, 0, 4>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x4x3x8xf32>) -> tensor<2x4x3x4xf32>
  %n = graph.compute "neg"(%b) {} : (tensor<2x4x3x4xf32>) -> tensor<2x4x3x4xf32>
  %h = graph.compute "concat"(%n, %a) {axis = 3 : i64} : (tensor<2x4x3x4xf32>, tensor<2x4x3x4xf32>) -> tensor<2x4x3x8xf32>
  %p = graph.compute "mul"(%x, %c) {} : (tensor<2x4x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<2x4x3x8xf32>
  %q = graph.compute "mul"(%h, %s) {} : (tensor<2x4x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<2x4x3x8xf32>
  %y = graph.compute "add"(%p, %q) {} : (tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x8xf32>
  graph.return %y : tensor<2x4x3x8xf32>
}
