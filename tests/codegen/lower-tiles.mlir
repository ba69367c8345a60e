// RUN: kiln-opt --lower-tiles=target=x86-64-v4-vnni -split-input-file -verify-diagnostics %s | FileCheck %s

// A tile of two rows is two vectors; an op on it is unrolled over them.
// CHECK-LABEL: func @add
// CHECK-COUNT-2: llvm.load {{.*}} vector<16xf32>
// CHECK: llvm.load {{.*}} vector<16xf32>
// CHECK-COUNT-2: arith.addf {{.*}} vector<16xf32>
// CHECK-COUNT-2: llvm.store {{.*}} vector<16xf32>
func.func @add(%x: !llvm.ptr, %b: !llvm.ptr, %row: index, %column: index) {
  %t = exec.tile_load %x[%row, %column] stride 64 columns 64 : !llvm.ptr -> tensor<2x16xf32>
  %v = exec.tile_broadcast %b[%column] : !llvm.ptr -> tensor<2x16xf32>
  %s = graph.add %t, %v : tensor<2x16xf32>, tensor<2x16xf32>
  exec.tile_store %s, %x[%row, %column] stride 64 columns 64 : tensor<2x16xf32>, !llvm.ptr
  return
}

// -----

// The last columns of a dense result are stored under a mask.
// CHECK-LABEL: func @dense
// CHECK: llvm.intr.masked.store
func.func @dense(%x: !llvm.ptr, %b: !llvm.ptr, %row: index, %column: index) {
  %v = exec.tile_broadcast %b[%column] : !llvm.ptr -> tensor<1x16xf32>
  exec.tile_store %v, %x[%row, %column] stride 53 columns 53 : tensor<1x16xf32>, !llvm.ptr
  return
}

// -----

// A tile whose height is not known yet cannot become vectors.
func.func @dynamic(%b: !llvm.ptr, %column: index) {
  // expected-error @+1 {{has a tile of dynamic height; run split-dynamic-loops first}}
  %v = exec.tile_broadcast %b[%column] : !llvm.ptr -> tensor<?x16xf32>
  return
}

// -----

// A target multiplies only by the strategies it has.
func.func @strategy(%b: !llvm.ptr, %row: index) {
  // expected-error @+1 {{target x86-64-v4-vnni has no strategy 'sdot'}}
  %v = exec.tile_dot %b[%row], %b scratch %b "q8_sym_g32" "sdot" depth 64 : !llvm.ptr, !llvm.ptr, !llvm.ptr -> tensor<1x16xf32>
  return
}
