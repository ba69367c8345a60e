// Norms that are written out get their names: means may be sums, squares powers, roots reciprocals,
// and factors stand anywhere.
// RUN: kiln-opt %s --recognize-operators | FileCheck %s

// CHECK-LABEL: graph.func @layer_norm
graph.func @layer_norm(%x: tensor<4x8xf32> {graph.name = "x"}, %g: tensor<8xf32> {graph.name = "g"}, %b: tensor<8xf32> {graph.name = "b"})
    -> (tensor<4x8xf32> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "layer_norm"(%arg0, %arg1, %arg2) {axis = 1 : i64, eps = 9.765625E-4 : f64}
  // CHECK-NEXT: graph.return %[[Y]]
  %eps = graph.constant dense<9.765625e-04> : tensor<f32>
  %two = graph.constant dense<2.0> : tensor<f32>
  %m = graph.compute "reduce_mean"(%x) {axes = array<i64: 1>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %d = graph.compute "sub"(%x, %m) {} : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %q = graph.compute "pow"(%d, %two) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %v = graph.compute "reduce_mean"(%q) {axes = array<i64: 1>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %e = graph.compute "add"(%v, %eps) {} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %r = graph.compute "sqrt"(%e) {} : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %n = graph.compute "div"(%d, %r) {} : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %s = graph.compute "mul"(%g, %n) {} : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %y = graph.compute "add"(%s, %b) {} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  graph.return %y : tensor<4x8xf32>
}

// As TensorFlow writes it: x * (g / root) + (b - mean * (g / root)), means as sums.
// CHECK-LABEL: graph.func @shifted
graph.func @shifted(%x: tensor<4x8xf32> {graph.name = "x"}, %g: tensor<8xf32> {graph.name = "g"}, %b: tensor<8xf32> {graph.name = "b"})
    -> (tensor<4x8xf32> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "layer_norm"(%arg0, %arg1, %arg2)
  // CHECK-NEXT: graph.return %[[Y]]
  %eps = graph.constant dense<9.765625e-04> : tensor<f32>
  %count = graph.constant dense<8.0> : tensor<f32>
  %t = graph.compute "reduce_sum"(%x) {axes = array<i64: 1>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %m = graph.compute "div"(%t, %count) {} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %d = graph.compute "sub"(%x, %m) {} : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %q = graph.compute "mul"(%d, %d) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %u = graph.compute "reduce_sum"(%q) {axes = array<i64: 1>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %v = graph.compute "div"(%u, %count) {} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %e = graph.compute "add"(%v, %eps) {} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %r = graph.compute "sqrt"(%e) {} : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %i = graph.compute "reciprocal"(%r) {} : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %f = graph.compute "mul"(%i, %g) {} : (tensor<4x1xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %a = graph.compute "mul"(%x, %f) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %c = graph.compute "mul"(%m, %f) {} : (tensor<4x1xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = graph.compute "sub"(%b, %c) {} : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %y = graph.compute "add"(%a, %s) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  graph.return %y : tensor<4x8xf32>
}

// CHECK-LABEL: graph.func @rms_norm
graph.func @rms_norm(%x: tensor<2x4x8xf32> {graph.name = "x"}, %g: tensor<8xf32> {graph.name = "g"}) -> (tensor<2x4x8xf32> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "rms_norm"(%arg0, %arg1) {axis = 2 : i64
  // CHECK-NEXT: graph.return %[[Y]]
  %eps = graph.constant dense<9.765625e-04> : tensor<f32>
  %power = graph.constant dense<-0.5> : tensor<f32>
  %q = graph.compute "mul"(%x, %x) {} : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %v = graph.compute "reduce_mean"(%q) {axes = array<i64: 2>, keep_dims = 1 : i64} : (tensor<2x4x8xf32>) -> tensor<2x4x1xf32>
  %e = graph.compute "add"(%v, %eps) {} : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
  %r = graph.compute "pow"(%e, %power) {} : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
  %n = graph.compute "mul"(%x, %r) {} : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
  %y = graph.compute "mul"(%g, %n) {} : (tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  graph.return %y : tensor<2x4x8xf32>
}

// Not of the last dims, and where something else needs the root: left as they are.
// CHECK-LABEL: graph.func @no_norms
graph.func @no_norms(%x: tensor<4x8xf32> {graph.name = "x"})
    -> (tensor<4x8xf32> {graph.name = "y"}, tensor<4x8xf32> {graph.name = "z"}, tensor<4x1xf32> {graph.name = "root"}) {
  // CHECK-NOT: _norm"
  %eps = graph.constant dense<9.765625e-04> : tensor<f32>
  %q = graph.compute "mul"(%x, %x) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %v = graph.compute "reduce_mean"(%q) {axes = array<i64: 0>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<1x8xf32>
  %e = graph.compute "add"(%v, %eps) {} : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %r = graph.compute "sqrt"(%e) {} : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %y = graph.compute "div"(%x, %r) {} : (tensor<4x8xf32>, tensor<1x8xf32>) -> tensor<4x8xf32>
  %w = graph.compute "reduce_mean"(%q) {axes = array<i64: 1>, keep_dims = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %f = graph.compute "add"(%w, %eps) {} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %s = graph.compute "sqrt"(%f) {} : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %z = graph.compute "div"(%x, %s) {} : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  graph.return %y, %z, %s : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x1xf32>
}
