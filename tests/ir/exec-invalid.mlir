// RUN: kiln-opt -split-input-file -verify-diagnostics %s

// Bounds of a dim are ordered.
// expected-error @+1 {{dim n: bounds are not 0 <= min <= max}}
exec.func @f dims [#exec.dim<"n" in [4, 1]>] {
}

// -----

// An expression counts the function's dims.
exec.func @f dims [#exec.dim<"n" in [1, 4]>] {
  // expected-error @+1 {{expected one expression of 1 dims, found}}
  %b = exec.buffer stride 16 bytes affine_map<()[n, m] -> (n * 64)> : tensor<4x4xf32>
}

// -----

// A launch names a layer for each cache.
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
exec.func @f dims [] {
  %c = exec.state "c" : !c
  // expected-error @+1 {{expected a layer for each of 1 caches, found 0}}
  exec.launch @k(%c : !c) -> ()
}

// -----

// A launch names a layer that the cache has.
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
exec.func @f dims [] {
  %c = exec.state "c" : !c
  // expected-error @+1 {{layer 1 of a cache of 1}}
  exec.launch @k(%c : !c) -> () {layers = array<i64: 1>}
}

// -----

// A launch binds what its kernel takes.
exec.func @f dims [] {
  %x = exec.input "x" : tensor<4x4xf32>
  // expected-error @+1 {{binds 1 + 0 buffers; the kernel takes 1 + 1}}
  exec.launch @k(%x : tensor<4x4xf32>) -> ()
}
exec.kernel @k dims [] strides [4, 4] {
^bb0(%x: tensor<4x4xf32>):
  graph.yield %x : tensor<4x4xf32>
}

// -----

// Bound buffers have the types of the kernel's parameters.
exec.func @f dims [] {
  %x = exec.input "x" : tensor<4x8xf32>
  %y = exec.output "y" : tensor<4x4xf32>
  // expected-error @+1 {{binds 'tensor<4x8xf32>' where the kernel takes 'tensor<4x4xf32>'}}
  exec.launch @k(%x : tensor<4x8xf32>) -> (%y : tensor<4x4xf32>)
}
exec.kernel @k dims [] strides [4, 4] {
^bb0(%x: tensor<4x4xf32>):
  graph.yield %x : tensor<4x4xf32>
}

// -----

// A kernel has a row stride for every parameter.
// expected-error @+1 {{expected 2 row strides, found 1}}
exec.kernel @k dims [] strides [4] {
^bb0(%x: tensor<4x4xf32>):
  graph.yield %x : tensor<4x4xf32>
}

// -----

// Tiles descend to 1.
func.func @f(%n: index) {
  // expected-error @+1 {{the smallest tile must be 1}}
  exec.tile_loop %n to %n tiles [4, 2] {
  ^bb0(%row: index):
    exec.tile_yield
  }
  return
}

// -----

// Each tile size is given once.
func.func @f(%n: index) {
  // expected-error @+1 {{tiles must descend}}
  exec.tile_loop %n to %n tiles [2, 4, 1] {
  ^bb0(%row: index):
    exec.tile_yield
  }
  return
}

// -----

// Every panel has a result.
func.func @f(%b: !llvm.ptr, %row: index) {
  // expected-error @+1 {{expected a result for each of 2 panels, found 1}}
  %v = exec.tile_dot %b[%row], %b, %b scratch %b "q8_sym_g32" "vpdpbusd" depth 64 : !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr -> tensor<1x16xf32>
  return
}
