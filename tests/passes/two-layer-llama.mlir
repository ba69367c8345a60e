// RUN: kiln-opt --kiln-graph='format=q4' %S/Inputs/two-layer-llama.mlir | FileCheck %s
// RUN: kiln-opt --kiln-graph='format=q4' %S/Inputs/two-layer-llama.mlir | kiln-opt | FileCheck %s

// The whole road over a Llama of two layers: five launches a layer, each behind a barrier, and seven
// kernels, which three layers would share as well.
// CHECK: arena_bytes = #[[BYTES:.*]], lower_bound_bytes = #[[BYTES]]
// CHECK: exec.launch @embed_64
// CHECK-COUNT-2: exec.launch @rms_norm_matmul_64x128
// CHECK-NOT: exec.launch @rms_norm_matmul_64x128
// CHECK: exec.launch @gather_rms_norm_matmul_64x512
// CHECK-COUNT-7: exec.kernel
// CHECK-NOT: exec.kernel
