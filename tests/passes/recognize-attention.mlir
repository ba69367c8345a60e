// Attention that is written out gets its name: scales, masks and what rearranges heads go into the op.
// RUN: kiln-opt %s --recognize-operators | FileCheck %s

graph.dim @b in [1, 8]
graph.dim @s in [1, 64]

// Queries and keys are scaled, keys transposed in one step, a mask is added; rows stay before heads.
// CHECK-LABEL: graph.func @rows_first
graph.func @rows_first(%q: tensor<?x?x4x16xf32, #graph.dims<@b, @s>> {graph.name = "q"}, %k: tensor<?x?x4x16xf32, #graph.dims<@b, @s>> {graph.name = "k"},
                       %v: tensor<?x?x4x16xf32, #graph.dims<@b, @s>> {graph.name = "v"}, %m: tensor<?x1x1x?xf32, #graph.dims<@b, @s>> {graph.name = "m"})
    -> (tensor<?x?x4x16xf32, #graph.dims<@b, @s>> {graph.name = "y"}) {
  // CHECK-NEXT: %[[Y:.*]] = graph.compute "attention"(%arg0, %arg1, %arg2, %arg3) {causal = 0 : i64, kv_heads_first = 0 : i64,
  // CHECK-SAME: mask = 3 : i64, {{.*}}q_heads_first = 0 : i64, {{.*}}scale = 2.500000e-01 : f64, {{.*}}y_heads_first = 0 : i64}
  // CHECK-NEXT: graph.return %[[Y]]
  %c = graph.constant dense<0.5> : tensor<f32>
  %qt = graph.compute "transpose"(%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x16xf32, #graph.dims<@b, @s>>) -> tensor<?x4x?x16xf32, #graph.dims<@b, @s>>
  %kt = graph.compute "transpose"(%k) {perm = array<i64: 0, 2, 3, 1>} : (tensor<?x?x4x16xf32, #graph.dims<@b, @s>>) -> tensor<?x4x16x?xf32, #graph.dims<@b, @s>>
  %vt = graph.compute "transpose"(%v) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x16xf32, #graph.dims<@b, @s>>) -> tensor<?x4x?x16xf32, #graph.dims<@b, @s>>
  %qs = graph.compute "mul"(%qt, %c) {} : (tensor<?x4x?x16xf32, #graph.dims<@b, @s>>, tensor<f32>) -> tensor<?x4x?x16xf32, #graph.dims<@b, @s>>
  %ks = graph.compute "mul"(%c, %kt) {} : (tensor<f32>, tensor<?x4x16x?xf32, #graph.dims<@b, @s>>) -> tensor<?x4x16x?xf32, #graph.dims<@b, @s>>
  %p = graph.compute "matmul"(%qs, %ks) {} : (tensor<?x4x?x16xf32, #graph.dims<@b, @s>>, tensor<?x4x16x?xf32, #graph.dims<@b, @s>>) -> tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>
  %a = graph.compute "add"(%m, %p) {} : (tensor<?x1x1x?xf32, #graph.dims<@b, @s>>, tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>) -> tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>
  %w = graph.compute "softmax"(%a) {axis = 3 : i64} : (tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>) -> tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>
  %o = graph.compute "matmul"(%w, %vt) {} : (tensor<?x4x?x?xf32, #graph.dims<@b, @s, @s>>, tensor<?x4x?x16xf32, #graph.dims<@b, @s>>) -> tensor<?x4x?x16xf32, #graph.dims<@b, @s>>
  %y = graph.compute "transpose"(%o) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x?x16xf32, #graph.dims<@b, @s>>) -> tensor<?x?x4x16xf32, #graph.dims<@b, @s>>
  graph.return %y : tensor<?x?x4x16xf32, #graph.dims<@b, @s>>
}

// Key heads that are repeated are read once; truths hide keys; a guard against NaN is not needed.
// CHECK-LABEL: graph.func @shared_heads
graph.func @shared_heads(%q: tensor<2x4x8x16xf32> {graph.name = "q"}, %k: tensor<2x2x8x16xf32> {graph.name = "k"},
                         %v: tensor<2x2x8x16xf32> {graph.name = "v"}, %m: tensor<8x8xi1> {graph.name = "m"})
    -> (tensor<2x4x8x16xf32> {graph.name = "y"}) {
  // CHECK: %[[M:.*]] = graph.compute "reshape"(%arg3) {} : (tensor<8x8xi1>) -> tensor<1x1x8x8xi1>
  // CHECK: %[[Y:.*]] = graph.compute "attention"(%arg0, %{{.*}}, %{{.*}}, %[[M]])
  // CHECK-SAME: kv_heads_first = 1 : i64{{.*}}scale = 1.250000e-01
  // CHECK-SAME: (tensor<2x4x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>, tensor<1x1x8x8xi1>)
  // CHECK-NEXT: graph.return %[[Y]]
  %c = graph.constant dense<8.0> : tensor<f32>
  %zero = graph.constant dense<0.0> : tensor<f32>
  %hidden = graph.constant dense<0xFF800000> : tensor<f32>
  %k5 = graph.compute "reshape"(%k) {} : (tensor<2x2x8x16xf32>) -> tensor<2x2x1x8x16xf32>
  %kw = graph.compute "broadcast"(%k5) {} : (tensor<2x2x1x8x16xf32>) -> tensor<2x2x2x8x16xf32>
  %k4 = graph.compute "reshape"(%kw) {} : (tensor<2x2x2x8x16xf32>) -> tensor<2x4x8x16xf32>
  %v5 = graph.compute "reshape"(%v) {} : (tensor<2x2x8x16xf32>) -> tensor<2x2x1x8x16xf32>
  %vw = graph.compute "broadcast"(%v5) {} : (tensor<2x2x1x8x16xf32>) -> tensor<2x2x2x8x16xf32>
  %v4 = graph.compute "reshape"(%vw) {} : (tensor<2x2x2x8x16xf32>) -> tensor<2x4x8x16xf32>
  %kt = graph.compute "transpose"(%k4) {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x8x16xf32>) -> tensor<2x4x16x8xf32>
  %p = graph.compute "matmul"(%q, %kt) {} : (tensor<2x4x8x16xf32>, tensor<2x4x16x8xf32>) -> tensor<2x4x8x8xf32>
  %d = graph.compute "div"(%p, %c) {} : (tensor<2x4x8x8xf32>, tensor<f32>) -> tensor<2x4x8x8xf32>
  %h = graph.compute "where"(%m, %d, %hidden) {} : (tensor<8x8xi1>, tensor<2x4x8x8xf32>, tensor<f32>) -> tensor<2x4x8x8xf32>
  %w = graph.compute "softmax"(%h) {axis = 3 : i64} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %n = graph.compute "isnan"(%w) {} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xi1>
  %g = graph.compute "where"(%n, %zero, %w) {} : (tensor<2x4x8x8xi1>, tensor<f32>, tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = graph.compute "matmul"(%g, %v4) {} : (tensor<2x4x8x8xf32>, tensor<2x4x8x16xf32>) -> tensor<2x4x8x16xf32>
  graph.return %y : tensor<2x4x8x16xf32>
}

// The weights are a result, or the softmax is over queries: left as they are.
// CHECK-LABEL: graph.func @no_attention
graph.func @no_attention(%q: tensor<4x8x16xf32> {graph.name = "q"}, %k: tensor<4x16x8xf32> {graph.name = "k"}, %v: tensor<4x8x16xf32> {graph.name = "v"})
    -> (tensor<4x8x16xf32> {graph.name = "y"}, tensor<4x8x8xf32> {graph.name = "w"}, tensor<4x8x16xf32> {graph.name = "z"}) {
  // CHECK-NOT: "attention"
  %p = graph.compute "matmul"(%q, %k) {} : (tensor<4x8x16xf32>, tensor<4x16x8xf32>) -> tensor<4x8x8xf32>
  %w = graph.compute "softmax"(%p) {axis = 2 : i64} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
  %y = graph.compute "matmul"(%w, %v) {} : (tensor<4x8x8xf32>, tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  %r = graph.compute "matmul"(%v, %k) {} : (tensor<4x8x16xf32>, tensor<4x16x8xf32>) -> tensor<4x8x8xf32>
  %u = graph.compute "softmax"(%r) {axis = 1 : i64} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
  %z = graph.compute "matmul"(%u, %v) {} : (tensor<4x8x8xf32>, tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  graph.return %y, %w, %z : tensor<4x8x16xf32>, tensor<4x8x8xf32>, tensor<4x8x16xf32>
}
