// RUN: kiln-opt --pass-pipeline='builtin.module(graph.func(fuse-regions))' -split-input-file -verify-diagnostics %s | FileCheck %s

// A norm joins the matmul behind it as prologue, the residual add as epilogue.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
!v = tensor<4xf32>
// CHECK-LABEL: graph.func @prologue_and_epilogue(%arg0
// CHECK-NEXT: graph.fused (%{{.*}} = %arg0 : {{.*}}, %{{.*}} = %arg2 : {{.*}}, %{{.*}} = %arg1 :
// CHECK-NEXT: graph.rms_norm
// CHECK-NEXT: graph.matmul
// CHECK-NEXT: graph.add
// CHECK-NEXT: graph.yield
graph.dim @n in [1, 8]
graph.func @prologue_and_epilogue(%x: !x, %w: !w, %v: !v) -> !x {
  %h = graph.rms_norm %x, %v eps = 1.0e-5 : !x, !v
  %m = graph.matmul %h, %w : !x, !w -> !x
  %r = graph.add %x, %m : !x, !x
  graph.return %r : !x
}

// -----

// Gate and up share one region, into which their norm is copied once.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
!v = tensor<4xf32>
// CHECK-LABEL: graph.func @gated
// CHECK-COUNT-1: graph.fused
// CHECK-COUNT-1: graph.layer_norm
// CHECK-COUNT-2: graph.matmul
// CHECK: graph.mul
// CHECK-NEXT: graph.yield
// CHECK-NOT: graph.fused
graph.dim @n in [1, 8]
graph.func @gated(%x: !x, %g: !w, %u: !w, %v: !v) -> !x {
  %h = graph.layer_norm %x, %v, %v eps = 1.0e-5 : !x, !v, !v
  %gate = graph.matmul %h, %g : !x, !w -> !x
  %up = graph.matmul %h, %u : !x, !w -> !x
  %act = graph.silu %gate : !x
  %r = graph.mul %act, %up : !x, !x
  graph.return %r : !x
}

// -----

// A norm with two matmuls that do not meet is copied into both regions, not materialised.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
!v = tensor<4xf32>
// CHECK-LABEL: graph.func @copied_norm
// CHECK: graph.fused
// CHECK-NEXT: graph.rms_norm
// CHECK-NEXT: graph.matmul
// CHECK: graph.fused
// CHECK-NEXT: graph.rms_norm
// CHECK-NEXT: graph.matmul
// CHECK-NOT: graph.fused
graph.dim @n in [1, 8]
graph.func @copied_norm(%x: !x, %a: !w, %b: !w, %v: !v) -> (!x, !x) {
  %h = graph.rms_norm %x, %v eps = 1.0e-5 : !x, !v
  %l = graph.matmul %h, %a : !x, !w -> !x
  %r = graph.matmul %h, %b : !x, !w -> !x
  graph.return %l, %r : !x, !x
}

// -----

// An add of what two chained matmuls give joins the later one: joining the first would be a cycle.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
// CHECK-LABEL: graph.func @no_cycle
// CHECK: %[[A:.*]] = graph.fused
// CHECK-NEXT: graph.matmul
// CHECK-NEXT: graph.yield
// CHECK: graph.fused (%{{.*}} = %[[A]]
// CHECK-NEXT: graph.matmul
// CHECK-NEXT: graph.add
graph.dim @n in [1, 8]
graph.func @no_cycle(%x: !x, %a: !w, %b: !w) -> !x {
  %l = graph.matmul %x, %a : !x, !w -> !x
  %r = graph.matmul %l, %b : !x, !w -> !x
  %s = graph.add %l, %r : !x, !x
  graph.return %s : !x
}

// -----

// A value of an epilogue that others read too is a result of the region.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
// CHECK-LABEL: graph.func @two_results
// CHECK: %[[R:.*]]:2 = graph.fused
// CHECK: graph.return %[[R]]#0, %[[R]]#1
graph.dim @n in [1, 8]
graph.func @two_results(%x: !x, %a: !w) -> (!x, !x) {
  %l = graph.matmul %x, %a : !x, !w -> !x
  %s = graph.relu %l : !x
  graph.return %l, %s : !x, !x
}

// -----

// Embedding, position embedding and their sum are one region; it is not recomputed by the norm's
// region, because the residual reads it too.
!i = tensor<?xi32, #graph.dims<@n>>
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
!v = tensor<4xf32>
// CHECK-LABEL: graph.func @embedding
// CHECK: graph.fused
// CHECK-NEXT: graph.embed
// CHECK-NEXT: graph.embed
// CHECK-NEXT: graph.add
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.rms_norm
// CHECK-NEXT: graph.matmul
// CHECK-NEXT: graph.add
graph.dim @n in [1, 8]
graph.func @embedding(%i: !i, %p: !i, %t: !w, %w: !w, %v: !v) -> !x {
  %e = graph.embed %i, %t : !i, !w -> !x
  %f = graph.embed %p, %w : !i, !w -> !x
  %x = graph.add %e, %f : !x, !x
  %h = graph.rms_norm %x, %v eps = 1.0e-5 : !x, !v
  %m = graph.matmul %h, %w : !x, !w -> !x
  %r = graph.add %x, %m : !x, !x
  graph.return %r : !x
}

// -----

// Rows that a matmul alone reads are gathered in its region; what the gather picks from is not, for
// it needs all rows.
!i = tensor<?xi32, #graph.dims<@m>>
!x = tensor<?x4xf32, #graph.dims<@n>>
!y = tensor<?x4xf32, #graph.dims<@m>>
!w = tensor<4x4xf32>
// CHECK-LABEL: graph.func @rows
// CHECK: graph.fused
// CHECK-NEXT: graph.relu
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.gather
// CHECK-NEXT: graph.matmul
graph.dim @n in [1, 8]
graph.dim @m in [0, 8]
graph.func @rows(%x: !x, %i: !i, %w: !w) -> !y {
  %e = graph.relu %x : !x
  %g = graph.gather %e, %i : !x, !i -> !y
  %r = graph.matmul %g, %w : !y, !w -> !y
  graph.return %r : !y
}

// -----

// Attention takes views and rotations of its operands; two attentions keep their order.
!i = tensor<?xi32, #graph.dims<@n>>
!t = tensor<?x?xi32, #graph.dims<@n, @n>>
!q = tensor<?x12xf32, #graph.dims<@n>>
!x = tensor<?x4xf32, #graph.dims<@n>>
!c = !graph.cache<layers = 2, kv_heads = 1, head_dim = 4, page_size = 64, pages = @n, f32>
// CHECK-LABEL: graph.func @attend
// CHECK: graph.fused
// CHECK-NEXT: graph.slice
// CHECK-NEXT: graph.rope
// CHECK-NEXT: graph.attention {{.*}}layer = 0
// CHECK: graph.fused
// CHECK: graph.attention {{.*}}layer = 1
// CHECK-NOT: graph.fused
graph.dim @n in [1, 8]
graph.func @attend(%s: !q, %x: !x, %p: !i, %t: !t, %c: !c) -> (!x, !x) {
  %q = graph.slice %s [4, 4] : !q -> !x
  %r = graph.rope %q, %p {head_dim = 4 : i64, rotary_dim = 4 : i64, theta = 1.0e4 : f64} : !x, !i
  %a = graph.attention %r, %x, %x at %p, %p, %t in %c {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
  %b = graph.attention %x, %x, %x at %p, %p, %t in %c {layer = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
  graph.return %b, %a : !x, !x
}

// -----

// An op that cannot take part in a kernel is an error.
graph.func @foreign(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-error @+1 {{cannot take part in a kernel}}
  %r = math.absf %x : tensor<4x4xf32>
  graph.return %r : tensor<4x4xf32>
}

// -----

// A view that a gather picks from is in memory, also for the op that reads both.
!i = tensor<?xi32, #graph.dims<@n>>
!q = tensor<?x8xf32, #graph.dims<@n>>
!x = tensor<?x4xf32, #graph.dims<@n>>
// CHECK-LABEL: graph.func @gathered_view
// CHECK: %[[V:.*]] = graph.fused
// CHECK-NEXT: graph.slice
// CHECK: graph.fused (%[[A:.*]] = %[[V]] :
// CHECK-NEXT: %[[G:.*]] = graph.gather %[[A]]
// CHECK-NEXT: graph.add %[[A]], %[[G]]
graph.dim @n in [1, 8]
graph.func @gathered_view(%q: !q, %i: !i) -> !x {
  %v = graph.slice %q [4, 4] : !q -> !x
  %g = graph.gather %v, %i : !x, !i -> !x
  %r = graph.add %v, %g : !x, !x
  graph.return %r : !x
}

// -----

// A norm that the epilogue reads too is in memory, not recomputed.
!x = tensor<?x4xf32, #graph.dims<@n>>
!w = tensor<4x4xf32>
!v = tensor<4xf32>
// CHECK-LABEL: graph.func @norm_in_epilogue
// CHECK: %[[H:.*]] = graph.fused
// CHECK-NEXT: graph.rms_norm
// CHECK: graph.fused (%[[A:.*]] = %[[H]] :
// CHECK-NEXT: graph.matmul %[[A]]
// CHECK-NEXT: graph.add %[[A]]
graph.dim @n in [1, 8]
graph.func @norm_in_epilogue(%x: !x, %w: !w, %v: !v) -> !x {
  %h = graph.rms_norm %x, %v eps = 1.0e-5 : !x, !v
  %m = graph.matmul %h, %w : !x, !w -> !x
  %r = graph.add %h, %m : !x, !x
  graph.return %r : !x
}

// -----

// Norms of heads before rotation are part of attention; a norm of whole rows is not.
!i = tensor<?xi32, #graph.dims<@n>>
!t = tensor<?x?xi32, #graph.dims<@n, @n>>
!x = tensor<?x4xf32, #graph.dims<@n>>
!c = !graph.cache<layers = 1, kv_heads = 2, head_dim = 2, page_size = 64, pages = @n, f32>
// CHECK-LABEL: graph.func @head_norms
// CHECK: %[[K:.*]] = graph.fused
// CHECK-NEXT: graph.rms_norm {{.*}}tensor<4xf32>
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.rms_norm {{.*}}tensor<2xf32>
// CHECK-NEXT: graph.rope
// CHECK-NEXT: graph.attention
// CHECK-NOT: graph.fused
graph.dim @n in [1, 8]
graph.func @head_norms(%x: !x, %w: tensor<2xf32>, %v: tensor<4xf32>, %p: !i, %t: !t, %c: !c) -> !x {
  %h = graph.rms_norm %x, %w eps = 1.0e-6 : !x, tensor<2xf32>
  %q = graph.rope %h, %p {head_dim = 2 : i64, rotary_dim = 2 : i64, theta = 1.0e4 : f64} : !x, !i
  %k = graph.rms_norm %x, %v eps = 1.0e-6 : !x, tensor<4xf32>
  %a = graph.attention %q, %k, %x at %p, %p, %t in %c {layer = 0 : i64, heads = 2 : i64, kv_heads = 2 : i64, head_dim = 2 : i64, scale = 0.5 : f64} : !x, !x, !x, !i, !i, !t, !c -> !x
  graph.return %a : !x
}

// -----

// Experts' ops are alone; what lies between them is a region of its own.
!x = tensor<?x4xf32, #graph.dims<@n>>
!e = tensor<8x4xf32>
!r = tensor<?x2xf32, #graph.dims<@n>>
// CHECK-LABEL: graph.func @experts
// CHECK: graph.fused
// CHECK-NEXT: graph.route
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.experts_matmul
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.silu
// CHECK-NEXT: graph.yield
// CHECK: graph.fused
// CHECK-NEXT: graph.combine
// CHECK-NEXT: graph.yield
// CHECK-NOT: graph.fused
graph.dim @n in [1, 8]
graph.func @experts(%x: !x, %l: !r, %w: !e) -> !x {
  %r = graph.route %l {used = 1 : i64, normalize = true} : !r -> !r
  %m = graph.experts_matmul %x, %r, %w {experts = 2 : i64, used = 1 : i64} : !x, !r, !e -> !x
  %s = graph.silu %m : !x
  %y = graph.combine %s, %r : !x, !r -> !x
  graph.return %y : !x
}

// -----

// Blocks of control flow are grouped on their own; constants that control flow takes are brought to
// memory, in regions.
!x = tensor<4x4xf32>
// CHECK-LABEL: graph.func @blocks
// CHECK: %[[A:.*]] = graph.fused (%{{.*}} = %arg0
// CHECK-NEXT: graph.relu
// CHECK: %[[GO:.*]] = graph.fused
// CHECK-NEXT: graph.constant
// CHECK-NEXT: graph.compute "identity"
// CHECK: graph.loop %[[GO]], %[[A]]
// CHECK-NEXT: ^bb0(%[[C:.*]]: tensor<i1>, %[[V:.*]]: tensor
// CHECK-NEXT: %[[S:.*]] = graph.fused (%{{.*}} = %[[V]] : {{.*}}, %{{.*}} = %[[A]] :
// CHECK-NEXT: graph.add
// CHECK: graph.yield %[[C]], %[[S]]
graph.func @blocks(%x: !x) -> !x {
  %a = graph.relu %x : !x
  %go = graph.constant dense<true> : tensor<i1>
  %r:2 = graph.loop %go, %a : tensor<i1>, !x -> (tensor<i1>, !x) {
  ^bb0(%c: tensor<i1>, %v: !x):
    %s = graph.add %v, %a : !x, !x
    graph.yield %c, %s : tensor<i1>, !x
  }
  graph.return %r#1 : !x
}
