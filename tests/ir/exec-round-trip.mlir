// RUN: kiln-opt %s | kiln-opt | FileCheck %s

// What the parser reads the printer writes: a planned schedule, a kernel, and a tile loop.
// CHECK: exec.func @f dims [#exec.dim<"n" in[1, 8]>] attributes {arena_bytes = #[[N64:[a-z0-9]+]], lower_bound_bytes = #[[N64]]} {
// CHECK: %[[X:.*]] = exec.input "x" {index_limit = #{{.*}}} : tensor<?x4xf32, #graph.dims<@n>>
// CHECK: %[[C:.*]] = exec.state "c" : <layers = 1
// CHECK: %[[Y:.*]] = exec.output "y"
// CHECK: %[[B:.*]] = exec.buffer stride 16 bytes #[[N64]] at #{{.*}} :
// CHECK: exec.launch @relu_4(%[[X]] : {{.*}}) -> (%[[B]] : {{.*}})
// CHECK: exec.barrier
// CHECK: exec.launch @other(%[[C]] : {{.*}}) -> (%[[Y]] : {{.*}}) {layers = array<i64: 0>}
// CHECK: exec.kernel @relu_4 dims ["n"] strides [4, 16] {
// CHECK: exec.tile_loop %{{.*}} to %{{.*}} tiles [4, 1] {
!x = tensor<?x4xf32, #graph.dims<@n>>
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @n, f32>
#bytes = affine_map<()[n] -> (n * 64)>
graph.dim @n in [1, 8]
exec.func @f dims [#exec.dim<"n" in [1, 8]>] attributes {arena_bytes = #bytes, lower_bound_bytes = #bytes} {
  %x = exec.input "x" {index_limit = affine_map<()[n] -> (n)>} : !x
  %c = exec.state "c" : !c
  %y = exec.output "y" : !x
  %b = exec.buffer stride 16 bytes #bytes at affine_map<()[n] -> (0)> : !x
  exec.launch @relu_4(%x : !x) -> (%b : !x)
  exec.barrier
  exec.launch @other(%c : !c) -> (%y : !x) {layers = array<i64: 0>}
}
exec.kernel @relu_4 dims ["n"] strides [4, 16] {
^bb0(%x: !x):
  %r = graph.relu %x : !x
  graph.yield %r : !x
}
func.func @tiles(%n: index) {
  %c0 = arith.constant 0 : index
  exec.tile_loop %c0 to %n tiles [4, 1] {
  ^bb0(%row: index):
    exec.tile_yield
  }
  return
}
