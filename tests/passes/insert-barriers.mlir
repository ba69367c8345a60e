// RUN: kiln-opt --pass-pipeline='builtin.module(exec.func(insert-barriers))' -split-input-file %s | FileCheck %s

// A launch waits for the launch that wrote what it reads, and only then; to write what one since the
// last barrier read (the output below) it waits too.
!x = tensor<4x16xf32>
// CHECK: exec.launch @a
// CHECK-NEXT: exec.launch @b
// CHECK-NEXT: exec.barrier
// CHECK-NEXT: exec.launch @c
// CHECK-NEXT: exec.barrier
// CHECK-NEXT: exec.launch @d
exec.func @f dims [] {
  %x = exec.input "x" : !x
  %p = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  %q = exec.buffer stride 16 bytes affine_map<() -> (256)> : !x
  %y = exec.output "y" : !x
  exec.launch @a(%x : !x) -> (%p : !x)
  exec.launch @b(%x : !x) -> (%q : !x)
  exec.launch @c(%p, %q : !x, !x) -> (%y : !x)
  exec.launch @d(%x : !x) -> (%p : !x)
}

// -----

// Launches on different layers of a cache are independent; on the same layer they are not.
!c = !graph.cache<layers = 2, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
// CHECK: exec.launch @a
// CHECK-NEXT: exec.launch @a
// CHECK-NEXT: exec.barrier
// CHECK-NEXT: exec.launch @a
graph.dim @p in [1, 2]
exec.func @f dims [#exec.dim<"p" in [1, 2]>] {
  %c = exec.state "c" : !c
  exec.launch @a(%c : !c) -> () {layers = array<i64: 0>}
  exec.launch @a(%c : !c) -> () {layers = array<i64: 1>}
  exec.launch @a(%c : !c) -> () {layers = array<i64: 0>}
}

// -----

// Branches, jumps and set_dims are barriers: no other one stands beside them. A view is the memory that
// it shows.
!x = tensor<4x16xf32>
!v = tensor<64xf32>
// CHECK: exec.launch @a
// CHECK-NEXT: exec.barrier
// CHECK-NEXT: exec.launch @b
// CHECK-NEXT: exec.mark 0
// CHECK-NEXT: exec.branch
// CHECK-NEXT: exec.launch @a
// CHECK-NEXT: exec.jump 0
// CHECK-NEXT: exec.mark 1
// CHECK-NEXT: exec.launch @b
// CHECK-NEXT: exec.set_dims
// CHECK-NEXT: exec.launch @a
exec.func @f dims [#exec.dim<"c" in [0, 4] computed = true>] {
  %c = exec.input "c" : tensor<i1>
  %n = exec.input "n" : tensor<1xi64>
  %x = exec.input "x" : !x
  %p = exec.buffer stride 16 bytes affine_map<()[c] -> (256)> : !x
  %v = exec.view %p : !x as !v
  %y = exec.output "y" : !v
  exec.launch @a(%x : !x) -> (%p : !x)
  exec.launch @b(%v : !v) -> (%y : !v)
  exec.mark 0
  exec.branch %c else 1 : tensor<i1>
  exec.launch @a(%x : !x) -> (%p : !x)
  exec.jump 0
  exec.mark 1
  exec.launch @b(%v : !v) -> (%y : !v)
  exec.set_dims [0] to %n : tensor<1xi64>
  exec.launch @a(%x : !x) -> (%p : !x)
}
