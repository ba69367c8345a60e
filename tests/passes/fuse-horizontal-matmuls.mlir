// RUN: kiln-opt --fuse-horizontal-matmuls -split-input-file %s | FileCheck %s

// Two matmuls of one input become one over a concatenated weight, and slices.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"f32", "rows">>
// CHECK: graph.weight @"a.q+k.weight" : tensor<8x4xf32> from [{{.*}}"a.q.weight"{{.*}}"a.k.weight"{{.*}}] via [#graph.concat]
// CHECK-NOT: graph.weight
// CHECK: %[[M:.*]] = graph.matmul %{{.*}} -> tensor<?x8xf32, #graph.dims<@n>>
// CHECK: graph.slice %[[M]][0, 4]
// CHECK: graph.slice %[[M]][4, 4]
graph.dim @n in [1, 8]
graph.weight @a.q.weight : tensor<4x4xf32> from [#graph.source<"f", "a.q.weight", offset = 0, "f32", [4, 4]>] as "f32" "rows"
graph.weight @a.k.weight : tensor<4x4xf32> from [#graph.source<"f", "a.k.weight", offset = 64, "f32", [4, 4]>] as "f32" "rows"
graph.func @two(%x: !x) -> (!x, !x) {
  %wq = graph.use @a.q.weight : !w
  %q = graph.matmul %x, %wq : !x, !w -> !x
  %wk = graph.use @a.k.weight : !w
  %k = graph.matmul %x, %wk : !x, !w -> !x
  graph.return %q, %k : !x, !x
}

// -----

// Biases are concatenated too, and transposed sources stay transposed.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"f32", "rows">>
!b = tensor<4xf32, #graph.stored<"f32", "rows">>
// CHECK: graph.weight @"q+k" {{.*}} via [#graph.transpose, #graph.concat]
// CHECK: graph.weight @"qb+kb" : tensor<8xf32> {{.*}} via [#graph.concat]
// CHECK: %[[M:.*]] = graph.matmul
// CHECK: %[[S:.*]] = graph.add %[[M]]
// CHECK: graph.slice %[[S]][0, 4]
graph.dim @n in [1, 8]
graph.weight @q : tensor<4x4xf32> from [#graph.source<"f", "q", offset = 0, "f32", [4, 4]>] via [#graph.transpose] as "f32" "rows"
graph.weight @k : tensor<4x4xf32> from [#graph.source<"f", "k", offset = 64, "f32", [4, 4]>] via [#graph.transpose] as "f32" "rows"
graph.weight @qb : tensor<4xf32> from [#graph.source<"f", "qb", offset = 128, "f32", [4]>] as "f32" "rows"
graph.weight @kb : tensor<4xf32> from [#graph.source<"f", "kb", offset = 144, "f32", [4]>] as "f32" "rows"
graph.func @biased(%x: !x) -> (!x, !x) {
  %wq = graph.use @q : !w
  %wk = graph.use @k : !w
  %bq = graph.use @qb : !b
  %bk = graph.use @kb : !b
  %q = graph.matmul %x, %wq : !x, !w -> !x
  %qs = graph.add %q, %bq : !x, !b
  %k = graph.matmul %x, %wk : !x, !w -> !x
  %ks = graph.add %k, %bk : !x, !b
  graph.return %qs, %ks : !x, !x
}

// -----

// Gate and up stay apart: their results meet in an elementwise op.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"f32", "rows">>
// CHECK-LABEL: graph.func @gated
// CHECK-COUNT-2: graph.matmul
graph.dim @n in [1, 8]
graph.weight @g : tensor<4x4xf32> from [#graph.source<"f", "g", offset = 0, "f32", [4, 4]>] as "f32" "rows"
graph.weight @u : tensor<4x4xf32> from [#graph.source<"f", "u", offset = 64, "f32", [4, 4]>] as "f32" "rows"
graph.func @gated(%x: !x) -> !x {
  %wg = graph.use @g : !w
  %wu = graph.use @u : !w
  %g = graph.matmul %x, %wg : !x, !w -> !x
  %u = graph.matmul %x, %wu : !x, !w -> !x
  %s = graph.silu %g : !x
  %r = graph.mul %s, %u : !x, !x
  graph.return %r : !x
}

// -----

// Weights of different formats stay apart.
!x = tensor<?x4xf32, #graph.dims<@n>>
// CHECK-LABEL: graph.func @formats
// CHECK-COUNT-2: graph.matmul
graph.dim @n in [1, 8]
graph.weight @q : tensor<4x4xf32> from [#graph.source<"f", "q", offset = 0, "f32", [4, 4]>] as "f32" "rows"
graph.weight @k : tensor<4x4xf32> from [#graph.source<"f", "k", offset = 64, "f16", [4, 4]>] as "f16" "rows"
graph.func @formats(%x: !x) -> (!x, !x) {
  %wq = graph.use @q : tensor<4x4xf32, #graph.stored<"f32", "rows">>
  %wk = graph.use @k : tensor<4x4xf32, #graph.stored<"f16", "rows">>
  %q = graph.matmul %x, %wq : !x, tensor<4x4xf32, #graph.stored<"f32", "rows">> -> !x
  %k = graph.matmul %x, %wk : !x, tensor<4x4xf32, #graph.stored<"f16", "rows">> -> !x
  graph.return %q, %k : !x, !x
}

// -----

// Sources of different blocks stay apart, for no format keeps both; of the same they are joined.
!x = tensor<?x32xf32, #graph.dims<@n>>
!w = tensor<32x32xf32, #graph.stored<"f32", "rows">>
// CHECK-DAG: graph.weight @v : tensor<32x32xf32>
// CHECK-DAG: graph.weight @"q+k" : tensor<64x32xf32>
graph.dim @n in [1, 8]
graph.weight @q : tensor<32x32xf32> from [#graph.source<"f", "q", offset = 0, "gguf.q5_0", [32, 32]>] as "f32" "rows"
graph.weight @k : tensor<32x32xf32> from [#graph.source<"f", "k", offset = 0, "gguf.q5_0", [32, 32]>] as "f32" "rows"
graph.weight @v : tensor<32x32xf32> from [#graph.source<"f", "v", offset = 0, "gguf.q8_0", [32, 32]>] as "f32" "rows"
graph.func @blocks(%x: !x) -> (!x, !x, !x) {
  %wq = graph.use @q : !w
  %q = graph.matmul %x, %wq : !x, !w -> !x
  %wk = graph.use @k : !w
  %k = graph.matmul %x, %wk : !x, !w -> !x
  %wv = graph.use @v : !w
  %v = graph.matmul %x, %wv : !x, !w -> !x
  graph.return %q, %k, %v : !x, !x, !x
}

// -----

// Results that array ops read stay apart: a slice would be a copy.
!x = tensor<?x4xf32, #graph.dims<@n>>
!y = tensor<?x2x2xf32, #graph.dims<@n>>
!w = tensor<4x4xf32, #graph.stored<"f32", "rows">>
// CHECK-LABEL: graph.func @arrays
// CHECK-COUNT-2: graph.matmul
// CHECK-NOT: graph.slice
graph.dim @n in [1, 8]
graph.weight @g : tensor<4x4xf32> from [#graph.source<"f", "g", offset = 0, "f32", [4, 4]>] as "f32" "rows"
graph.weight @u : tensor<4x4xf32> from [#graph.source<"f", "u", offset = 64, "f32", [4, 4]>] as "f32" "rows"
graph.func @arrays(%x: !x) -> (!y, !y) {
  %wg = graph.use @g : !w
  %wu = graph.use @u : !w
  %g = graph.matmul %x, %wg : !x, !w -> !x
  %u = graph.matmul %x, %wu : !x, !w -> !x
  %a = graph.compute "reshape"(%g) {} : (!x) -> !y
  %b = graph.compute "reshape"(%u) {} : (!x) -> !y
  graph.return %a, %b : !y, !y
}
