// RUN: kiln-opt --pass-pipeline='builtin.module(graph.func(fold-constants))' -split-input-file %s | FileCheck %s
// RUN: kiln-opt --pass-pipeline='builtin.module(graph.func(fold-constants{max-bytes=4}))' -split-input-file %s | FileCheck %s --check-prefix=SMALL

// A chain of ops on constants becomes one constant; a vector is broadcast over rows.
// CHECK-LABEL: graph.func @chain
// CHECK-NEXT: %[[C:.*]] = graph.constant dense<{{\[\[}}-3.000000e+00, -5.000000e+00]]>
// CHECK-NEXT: graph.return %[[C]]
// The result would be 8 bytes: more than allowed.
// SMALL-LABEL: graph.func @chain
// SMALL: graph.add
graph.func @chain() -> tensor<1x2xf32> {
  %a = graph.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %b = graph.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %sum = graph.add %a, %b : tensor<1x2xf32>, tensor<2xf32>
  %r = graph.neg %sum : tensor<1x2xf32>
  graph.return %r : tensor<1x2xf32>
}

// -----

// An op with an operand that is not constant stays.
// CHECK-LABEL: graph.func @input
// CHECK: graph.mul
graph.func @input(%x: tensor<1x2xf32> {graph.name = "x"}) -> tensor<1x2xf32> {
  %b = graph.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %r = graph.mul %x, %b : tensor<1x2xf32>, tensor<2xf32>
  graph.return %r : tensor<1x2xf32>
}

// -----

// Columns of a constant are a constant.
// CHECK-LABEL: graph.func @columns
// CHECK-NEXT: graph.constant dense<{{\[\[}}2], [4]]> : tensor<2x1xi32>
graph.func @columns() -> tensor<2x1xi32> {
  %a = graph.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi32>
  %r = graph.slice %a [1, 1] : tensor<2x2xi32> -> tensor<2x1xi32>
  graph.return %r : tensor<2x1xi32>
}
