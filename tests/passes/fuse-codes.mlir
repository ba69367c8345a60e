// What follows a product of codes is computed in its kernel as far as codes: sums are not stored.
// RUN: kiln-opt %s --fuse-regions | FileCheck %s

!image = tensor<1x4x4x16xui8>
!codes = tensor<1x4x4x8xui8>
!sums = tensor<1x4x4x8xi32>
!floats = tensor<1x4x4x8xf32>
!weight = tensor<8x16xi8>

// Two products meet in an addition: the first is rounded to codes in its own kernel, the second in
// the one that adds; what the codes stand for is computed where it is read.
// CHECK-LABEL: graph.func @main
graph.func @main(%x: !image {graph.name = "x"}, %w: !weight {graph.name = "w"}, %v: !weight {graph.name = "v"},
                 %f: tensor<8xf32> {graph.name = "f"}, %one: tensor<f32> {graph.name = "one"})
    -> (!codes {graph.name = "y"}, !floats {graph.name = "z"}) {
  // CHECK: graph.fused
  // CHECK-NEXT: "conv"
  // CHECK-NEXT: "cast"
  // CHECK-NEXT: "quantize"
  // CHECK-NEXT: graph.yield
  %a = graph.compute "conv"(%x, %w) {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : (!image, !weight) -> !sums
  %b = graph.compute "cast"(%a) {} : (!sums) -> !floats
  %c = graph.compute "quantize"(%b, %f) {zero = 3 : i64, low = 3 : i64, high = 255 : i64} : (!floats, tensor<8xf32>) -> !codes
  %d = graph.compute "dequantize"(%c) {scale = 0.5 : f64, zero = 3 : i64} : (!codes) -> !floats
  // CHECK: graph.fused
  // CHECK-NEXT: "dequantize"
  // CHECK-NEXT: "conv"
  // CHECK-NEXT: "cast"
  // CHECK-NEXT: "quantize"
  // CHECK-NEXT: "dequantize"
  // CHECK-NEXT: "add"
  // CHECK-NEXT: "quantize"
  // CHECK-NEXT: graph.yield
  %e = graph.compute "conv"(%x, %v) {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : (!image, !weight) -> !sums
  %g = graph.compute "cast"(%e) {} : (!sums) -> !floats
  %h = graph.compute "quantize"(%g, %f) {zero = 9 : i64, low = 0 : i64, high = 255 : i64} : (!floats, tensor<8xf32>) -> !codes
  %i = graph.compute "dequantize"(%h) {scale = 0.25 : f64, zero = 9 : i64} : (!codes) -> !floats
  %s = graph.compute "add"(%d, %i) {} : (!floats, !floats) -> !floats
  %y = graph.compute "quantize"(%s, %one) {zero = 5 : i64, low = 0 : i64, high = 255 : i64} : (!floats, tensor<f32>) -> !codes
  // CHECK: graph.fused
  // CHECK-NEXT: "dequantize"
  // CHECK-NEXT: "relu"
  // CHECK-NEXT: graph.yield
  %t = graph.compute "dequantize"(%y) {scale = 0.125 : f64, zero = 5 : i64} : (!codes) -> !floats
  %z = graph.compute "relu"(%t) {} : (!floats) -> !floats
  graph.return %y, %z : !codes, !floats
}

// Shifts of integers are not made for vectors, and sums that are read twice are stored.
// CHECK-LABEL: graph.func @apart
graph.func @apart(%x: !image {graph.name = "x"}, %w: !weight {graph.name = "w"}, %k: tensor<i32> {graph.name = "k"})
    -> (!sums {graph.name = "y"}, !floats {graph.name = "z"}) {
  // CHECK: graph.fused
  // CHECK-NEXT: "conv"
  // CHECK-NEXT: graph.yield
  // CHECK: graph.fused
  // CHECK-NEXT: "xor"
  // CHECK-NEXT: graph.yield
  // CHECK: graph.fused
  // CHECK-NEXT: "conv"
  // CHECK-NEXT: graph.yield
  // CHECK: graph.fused
  // CHECK-NEXT: "cast"
  // CHECK-NEXT: "exp"
  %a = graph.compute "conv"(%x, %w) {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : (!image, !weight) -> !sums
  %y = graph.compute "xor"(%a, %k) {} : (!sums, tensor<i32>) -> !sums
  %b = graph.compute "conv"(%x, %w) {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, outside = 7 : i64} : (!image, !weight) -> !sums
  %c = graph.compute "cast"(%b) {} : (!sums) -> !floats
  %d = graph.compute "exp"(%c) {} : (!floats) -> !floats
  %e = graph.compute "add"(%b, %k) {} : (!sums, tensor<i32>) -> !sums
  %f = graph.compute "cast"(%e) {} : (!sums) -> !floats
  %z = graph.compute "mul"(%d, %f) {} : (!floats, !floats) -> !floats
  graph.return %y, %z : !sums, !floats
}
