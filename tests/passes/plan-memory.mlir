// RUN: kiln-opt --pass-pipeline='builtin.module(exec.func(plan-memory))' -split-input-file -verify-diagnostics %s | FileCheck %s

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

// A size that is not linear in the dims is refused.
exec.func @f dims [#exec.dim<"n" in [1, 8]>, #exec.dim<"m" in [1, 8]>] {
  // expected-error @+1 {{has a size that is not linear in the dims}}
  %a = exec.buffer stride 16 bytes affine_map<()[n, m] -> (n floordiv 3)> : tensor<16xf32>
}
