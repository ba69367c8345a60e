// Formulas that are written out get the names of operators, whatever the order of their steps.
// RUN: kiln-opt %s --recognize-operators | FileCheck %s

// CHECK-LABEL: graph.func @gelu
graph.func @gelu(%x: tensor<4x8xf32> {graph.name = "x"}) -> (tensor<4x8xf32> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "gelu"(%arg0) {}
  // CHECK-NEXT: graph.return %[[Y]]
  %root = graph.constant dense<1.41421354> : tensor<f32>
  %one = graph.constant dense<1.0> : tensor<f32>
  %half = graph.constant dense<0.5> : tensor<f32>
  %d = graph.compute "div"(%x, %root) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %e = graph.compute "erf"(%d) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = graph.compute "add"(%one, %e) {} : (tensor<f32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %h = graph.compute "mul"(%half, %x) {} : (tensor<f32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %y = graph.compute "mul"(%h, %s) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  graph.return %y : tensor<4x8xf32>
}

// Another factor under the erf is another function.
// CHECK-LABEL: graph.func @no_gelu
graph.func @no_gelu(%x: tensor<4x8xf32> {graph.name = "x"}) -> (tensor<4x8xf32> {graph.name = "y"}) {
  // CHECK-NOT: "gelu"
  %root = graph.constant dense<1.5> : tensor<f32>
  %one = graph.constant dense<1.0> : tensor<f32>
  %half = graph.constant dense<0.5> : tensor<f32>
  %d = graph.compute "div"(%x, %root) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %e = graph.compute "erf"(%d) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = graph.compute "add"(%e, %one) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %m = graph.compute "mul"(%x, %s) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %y = graph.compute "mul"(%m, %half) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  graph.return %y : tensor<4x8xf32>
}

// CHECK-LABEL: graph.func @gelu_tanh
graph.func @gelu_tanh(%x: tensor<4x8xf32> {graph.name = "x"}) -> (tensor<4x8xf32> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "gelu_tanh"(%arg0) {}
  // CHECK-NEXT: graph.return %[[Y]]
  %three = graph.constant dense<3.0> : tensor<f32>
  %cubic = graph.constant dense<4.471500e-02> : tensor<f32>
  %slope = graph.constant dense<0.797884583> : tensor<f32>
  %one = graph.constant dense<1.0> : tensor<f32>
  %half = graph.constant dense<0.5> : tensor<f32>
  %p = graph.compute "pow"(%x, %three) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %c = graph.compute "mul"(%p, %cubic) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %a = graph.compute "add"(%x, %c) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %i = graph.compute "mul"(%a, %slope) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %t = graph.compute "tanh"(%i) {} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = graph.compute "add"(%t, %one) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %g = graph.compute "mul"(%s, %half) {} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %y = graph.compute "mul"(%x, %g) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  graph.return %y : tensor<4x8xf32>
}

// Sigmoids with a factor, spelt as an exponential, and after a softplus.
// CHECK-LABEL: graph.func @units
graph.func @units(%x: tensor<8xf32> {graph.name = "x"})
    -> (tensor<8xf32> {graph.name = "a"}, tensor<8xf32> {graph.name = "b"}, tensor<8xf32> {graph.name = "c"}, tensor<8xf32> {graph.name = "d"}) {
  // CHECK: %[[A:.*]] = graph.compute "silu"(%arg0) {alpha = 1.70{{.*}} : f64}
  // CHECK: %[[B:.*]] = graph.compute "silu"(%arg0) {alpha = 1.000000e+00 : f64}
  // CHECK: %[[C:.*]] = graph.compute "mish"(%arg0) {}
  // CHECK: %[[D:.*]] = graph.compute "hard_swish"(%arg0) {}
  // CHECK-NEXT: graph.return %[[A]], %[[B]], %[[C]], %[[D]]
  %k = graph.constant dense<1.702> : tensor<f32>
  %one = graph.constant dense<1.0> : tensor<f32>
  %three = graph.constant dense<3.0> : tensor<f32>
  %six = graph.constant dense<6.0> : tensor<f32>
  %kx = graph.compute "mul"(%k, %x) {} : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %s = graph.compute "sigmoid"(%kx) {} : (tensor<8xf32>) -> tensor<8xf32>
  %a = graph.compute "mul"(%s, %x) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n = graph.compute "neg"(%x) {} : (tensor<8xf32>) -> tensor<8xf32>
  %e = graph.compute "exp"(%n) {} : (tensor<8xf32>) -> tensor<8xf32>
  %d1 = graph.compute "add"(%one, %e) {} : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %b = graph.compute "div"(%x, %d1) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e2 = graph.compute "exp"(%x) {} : (tensor<8xf32>) -> tensor<8xf32>
  %d2 = graph.compute "add"(%e2, %one) {} : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %l = graph.compute "log"(%d2) {} : (tensor<8xf32>) -> tensor<8xf32>
  %t = graph.compute "tanh"(%l) {} : (tensor<8xf32>) -> tensor<8xf32>
  %c = graph.compute "mul"(%x, %t) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %p = graph.compute "add"(%x, %three) {} : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %r = graph.compute "clamp"(%p) {low = 0.0 : f64, high = 6.0 : f64} : (tensor<8xf32>) -> tensor<8xf32>
  %q = graph.compute "div"(%r, %six) {} : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %d = graph.compute "mul"(%x, %q) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  graph.return %a, %b, %c, %d : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// A sigmoid that something else needs is made once, for both.
// CHECK-LABEL: graph.func @shared
graph.func @shared(%x: tensor<8xf32> {graph.name = "x"}) -> (tensor<8xf32> {graph.name = "y"}, tensor<8xf32> {graph.name = "z"}) {
  // CHECK-NOT: "silu"
  %s = graph.compute "sigmoid"(%x) {} : (tensor<8xf32>) -> tensor<8xf32>
  %y = graph.compute "mul"(%x, %s) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  graph.return %y, %s : tensor<8xf32>, tensor<8xf32>
}
