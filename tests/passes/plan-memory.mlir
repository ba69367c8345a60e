// RUN: kiln-opt --pass-pipeline='builtin.module(exec.func(plan-memory))' -split-input-file %s | FileCheck %s

// A buffer whose readers are done makes room for another; the sizes depend on the dims of the call.
!x = tensor<?x16xf32, #graph.dims<@n>>
#bytes = affine_map<()[n] -> (n * 64)>
// CHECK: #[[N128:.*]] = affine_map<()[s0] -> (s0 * 128)>
// CHECK: #[[N64:.*]] = affine_map<()[s0] -> (s0 * 64)>
// CHECK: #[[ZERO:.*]] = affine_map<()[s0] -> (0)>
// CHECK: arena_bytes = #[[N128]], lower_bound_bytes = #[[N128]]
// CHECK: exec.buffer stride 16 bytes #[[N64]] at #[[ZERO]]
// CHECK: exec.buffer stride 16 bytes #[[N64]] at #[[N64]]
// CHECK: exec.buffer stride 16 bytes #[[N64]] at #[[ZERO]]
graph.dim @n in [1, 8]
exec.func @f dims [#exec.dim<"n" in [1, 8]>] {
  %a = exec.buffer stride 16 bytes #bytes : !x
  %b = exec.buffer stride 16 bytes #bytes : !x
  %c = exec.buffer stride 16 bytes #bytes : !x
  exec.launch @k() -> (%a : !x)
  exec.barrier
  exec.launch @k(%a : !x) -> (%b : !x)
  exec.barrier
  exec.launch @k(%b : !x) -> (%c : !x)
}

// -----

// Workers run ahead of each other: without a barrier between them all three are live at once.
!x = tensor<?x16xf32, #graph.dims<@n>>
#bytes = affine_map<()[n] -> (n * 64)>
// CHECK: #[[N192:.*]] = affine_map<()[s0] -> (s0 * 192)>
// CHECK: arena_bytes = #[[N192]], lower_bound_bytes = #[[N192]]
graph.dim @n in [1, 8]
exec.func @f dims [#exec.dim<"n" in [1, 8]>] {
  %a = exec.buffer stride 16 bytes #bytes : !x
  %b = exec.buffer stride 16 bytes #bytes : !x
  %c = exec.buffer stride 16 bytes #bytes : !x
  exec.launch @k() -> (%a : !x)
  exec.launch @k() -> (%b : !x)
  exec.launch @k() -> (%c : !x)
}

// -----

// Products of dims and quotients are variables of their own; bytes that are no multiple of 64 are rounded
// up together.
!x = tensor<?x16xf32, #graph.dims<@n>>
// CHECK: #[[ALL:.*]] = affine_map<()[s0, s1, s2] -> ((s1 * s2) * 64 + ((s0 * 4) ceildiv 64) * 64)>
// CHECK: #[[AB:.*]] = affine_map<()[s0, s1, s2] -> ((s1 * s2) * 64)>
// CHECK: arena_bytes = #[[ALL]]
// CHECK: exec.buffer
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[AB]] :
exec.func @f dims [#exec.dim<"n" in [1, 8]>, #exec.dim<"m" in [1, 8]>, #exec.dim<"d" in [2, 16] is affine_map<()[n] -> (n * 2)>>] {
  %a = exec.buffer stride 16 bytes affine_map<()[n, m, d] -> (m * d * 64)> : !x
  %b = exec.buffer stride 16 bytes affine_map<()[n, m, d] -> (n * 4)> : !x
  exec.launch @k() -> (%a : !x)
  exec.launch @k() -> (%b : !x)
}

// -----

// What is the same polynomial of dims is one size: where %a ends, %b begins, and %c takes %a's place.
!x = tensor<?x16xf32, #graph.dims<@n>>
// CHECK: #[[TWO:.*]] = affine_map<()[s0, s1, s2] -> (s2 * 128)>
// CHECK: arena_bytes = #[[TWO]], lower_bound_bytes = #[[TWO]]
exec.func @f dims [#exec.dim<"n" in [1, 8]>, #exec.dim<"m" in [1, 8]>, #exec.dim<"nm" in [1, 64] is affine_map<()[n, m] -> (n * m)>>] {
  %a = exec.buffer stride 16 bytes affine_map<()[n, m, nm] -> (nm * 64)> : !x
  %b = exec.buffer stride 16 bytes affine_map<()[n, m, nm] -> (m * n * 64)> : !x
  %c = exec.buffer stride 16 bytes affine_map<()[n, m, nm] -> (n * 32 * m * 2)> : !x
  exec.launch @k() -> (%a : !x)
  exec.barrier
  exec.launch @k(%a : !x) -> (%b : !x)
  exec.barrier
  exec.launch @k(%b : !x) -> (%c : !x)
}

// -----

// Of lines in which a chain's sizes are rounded up it is known what they lie between: %c fits below %b.
!x = tensor<?x16xf32, #graph.dims<@n>>
// CHECK: #[[LINES:.*]] = affine_map<()[s0] -> (((s0 * 4128) ceildiv 64) * 64)>
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[LINES]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[ZERO:.*]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[LINES]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[ZERO]] :
exec.func @f dims [#exec.dim<"n" in [1, 8]>] {
  %a = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 2560)> : !x
  %b = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 4128)> : !x
  %c = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 1024)> : !x
  %d = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 2048)> : !x
  exec.launch @k() -> (%a : !x)
  exec.barrier
  exec.launch @k(%a : !x) -> (%b : !x)
  exec.barrier
  exec.launch @k(%b : !x) -> (%c : !x)
  exec.barrier
  exec.launch @k(%c : !x) -> (%d : !x)
}

// -----

// Where it depends on the dims which of two buffers reaches higher, what lies above begins at the larger
// end: %v above %s and %q, or above %s and %p.
!x = tensor<?x16xf32, #graph.dims<@n>>
// CHECK: #[[ARENA:.*]] = affine_map<()[s0] -> (s0 * 3072 + (s0 * s0) * 64, s0 * 1024 + (s0 * s0) * 128)>
// CHECK: #[[LARGER:.*]] = affine_map<()[s0] -> (s0 * 2048 + (s0 * s0) * 64, (s0 * s0) * 128)>
// CHECK: arena_bytes = #[[ARENA]], lower_bound_bytes = #[[ARENA]]
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[LARGER]] :
exec.func @f dims [#exec.dim<"n" in [1, 512]>] {
  %v = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 1024)> : !x
  %q = exec.buffer stride 16 bytes affine_map<()[n] -> (n * 2048)> : !x
  %s = exec.buffer stride 16 bytes affine_map<()[n] -> (n * n * 64)> : !x
  %p = exec.buffer stride 16 bytes affine_map<()[n] -> (n * n * 64)> : !x
  exec.launch @k() -> (%v : !x)
  exec.launch @k() -> (%q : !x)
  exec.barrier
  exec.launch @k(%q : !x) -> (%s : !x)
  exec.barrier
  exec.launch @k(%s : !x) -> (%p : !x)
  exec.barrier
  exec.launch @k(%p, %v : !x, !x) -> (%v : !x)
}

// -----

// A buffer that carries something into a loop or from round to round is live to the loop's end, here
// %a; one that is written before it is read in each round, %t, makes room.
!x = tensor<4x16xf32>
// CHECK: arena_bytes = #[[SIZE:.*]], lower
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[ZERO:.*]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[ONE:.*]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[TWO:.*]] :
// CHECK: exec.buffer stride 16 bytes #{{.*}} at #[[ONE]] :
exec.func @f dims [] {
  %c = exec.input "c" : tensor<i1>
  %y = exec.output "y" : !x
  %a = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  %t = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  %u = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  %w = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  exec.launch @k() -> (%a : !x)
  exec.mark 0
  exec.branch %c else 1 : tensor<i1>
  exec.launch @k(%a : !x) -> (%t : !x)
  exec.barrier
  exec.launch @k(%t : !x) -> (%u : !x)
  exec.barrier
  exec.launch @k(%u : !x) -> (%w : !x)
  exec.barrier
  exec.launch @k(%w : !x) -> (%y : !x)
  exec.jump 0
  exec.mark 1
}
