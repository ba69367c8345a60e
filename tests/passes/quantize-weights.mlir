// RUN: kiln-opt --quantize-weights='format=q4' %s | FileCheck %s --check-prefixes=CHECK,Q4
// RUN: kiln-opt --quantize-weights='format=q8' %s | FileCheck %s --check-prefixes=CHECK,Q8
// RUN: kiln-opt --quantize-weights='format=none' %s | FileCheck %s --check-prefixes=CHECK,NONE
// RUN: kiln-opt --quantize-weights='format=q4 overrides=inner.*=f16,tok*=q4' %s | FileCheck %s --check-prefix=OVER
// RUN: not kiln-opt --quantize-weights='format=q5' %s 2>&1 | FileCheck %s --check-prefix=BAD
// RUN: not kiln-opt --quantize-weights='format=q4 overrides=nothing=q8' %s 2>&1 | FileCheck %s --check-prefix=UNUSED
// RUN: not kiln-opt --quantize-weights='format=q4 overrides=inner.weight=q3' %s 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// Under q4 the table and the head keep 8 bits; a table picked by positions and vectors are not quantized;
// the types of uses follow. A later override, by glob, wins over all of that.
// Q4: @tokens : {{.*}} as "q8_sym_g32"
// Q4: @positions : {{.*}} as "bf16"
// Q4: @inner.weight : {{.*}} as "q4_sym_g32"
// Q4: @head : {{.*}} as "q8_sym_g32"
// Q8: @tokens : {{.*}} as "q8_sym_g32"
// Q8: @positions : {{.*}} as "bf16"
// Q8: @inner.weight : {{.*}} as "q8_sym_g32"
// NONE: @tokens : {{.*}} as "bf16"
// NONE: @inner.weight : {{.*}} as "bf16"
// CHECK: @bias : {{.*}} as "f32"
// Q4: graph.use @inner.weight : tensor<32x32xf32, #graph.stored<"q4_sym_g32", "rows">>
// OVER: @tokens : {{.*}} as "q4_sym_g32"
// OVER: @inner.weight : {{.*}} as "f16"
// BAD: quantization: expected none, q8 or q4, found 'q5'
// UNUSED: no matrix matches 'nothing=q8'
// UNKNOWN: expected NAME=FORMAT with a format of none, q8, q4, f32, f16 or bf16, found 'inner.weight=q3'
!ids = tensor<?xi32, #graph.dims<@n>>
!x = tensor<?x32xf32, #graph.dims<@n>>
!w = tensor<32x32xf32, #graph.stored<"bf16", "rows">>
!b = tensor<32xf32, #graph.stored<"bf16", "rows">>
graph.dim @n in [1, 8]
graph.weight @tokens : tensor<32x32xf32> from [#graph.source<"f", "t", offset = 0, "bf16", [32, 32]>] as "bf16" "rows"
graph.weight @positions : tensor<32x32xf32> from [#graph.source<"f", "p", offset = 0, "bf16", [32, 32]>] as "bf16" "rows"
graph.weight @inner.weight : tensor<32x32xf32> from [#graph.source<"f", "i", offset = 0, "bf16", [32, 32]>] as "bf16" "rows"
graph.weight @head : tensor<32x32xf32> from [#graph.source<"f", "h", offset = 0, "bf16", [32, 32]>] as "bf16" "rows"
graph.weight @bias : tensor<32xf32> from [#graph.source<"f", "b", offset = 0, "bf16", [32]>] as "bf16" "rows"
graph.func @f(%ids: !ids, %pos: !ids) -> !x {
  %wt = graph.use @tokens : !w
  %wp = graph.use @positions : !w
  %wi = graph.use @inner.weight : !w
  %wh = graph.use @head : !w
  %wb = graph.use @bias : !b
  %t = graph.embed %ids, %wt : !ids, !w -> !x
  %p = graph.embed %pos, %wp : !ids, !w -> !x
  %s = graph.add %t, %p : !x, !x
  %r = graph.rope %s, %pos {head_dim = 32 : i64, rotary_dim = 32 : i64, theta = 1.0e4 : f64} : !x, !ids
  %i = graph.matmul %r, %wi : !x, !w -> !x
  %h = graph.matmul %i, %wh : !x, !w -> !x
  %o = graph.add %h, %wb : !x, !b
  graph.return %o : !x
}
