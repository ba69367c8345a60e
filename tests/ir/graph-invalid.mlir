// RUN: kiln-opt -split-input-file -verify-diagnostics %s

// Bounds of a dim are ordered.
// expected-error @+1 {{bounds [4, 1] are not 0 <= min <= max}}
graph.dim @n in [4, 1]

// -----

// A weight's format is in the table.
// expected-error @+1 {{unknown weight format 'q5'}}
graph.weight @w : tensor<4x4xf32> from [#graph.source<"f", "w", offset = 0, "f32", [4, 4]>] as "q5" "rows"

// -----

// Sources and transforms give the weight's shape.
// expected-error @+1 {{sources and transforms do not give 'tensor<4x2xf32>'}}
graph.weight @w : tensor<4x2xf32> from [#graph.source<"f", "w", offset = 0, "f32", [2, 4]>] as "f32" "rows"

// -----

// Sources that are concatenated agree in all but the first dim.
// expected-error @+1 {{concatenates sources whose trailing dims differ}}
graph.weight @w : tensor<4x4xf32> from [#graph.source<"f", "a", offset = 0, "f32", [2, 4]>, #graph.source<"f", "b", offset = 32, "f32", [2, 3]>] via [#graph.concat] as "f32" "rows"

// -----

// A matmul's weight is as deep as its input is wide.
graph.func @f(%x: tensor<4x4xf32>, %w: tensor<8x5xf32>) -> tensor<4x8xf32> {
  // expected-error @+1 {{weight: expected a last dim of 4, found 'tensor<8x5xf32>'}}
  %r = graph.matmul %x, %w : tensor<4x4xf32>, tensor<8x5xf32> -> tensor<4x8xf32>
  graph.return %r : tensor<4x8xf32>
}

// -----

// Rows are counted by the same dim.
!n = tensor<?x4xf32, #graph.dims<@n>>
!m = tensor<?x4xf32, #graph.dims<@m>>
graph.func @f(%x: !n, %w: tensor<4x4xf32>) -> !m {
  // expected-error @+1 {{result: expected as many rows as}}
  %r = graph.matmul %x, %w : !n, tensor<4x4xf32> -> !m
  graph.return %r : !m
}

// -----

// Elementwise operands have one element type.
graph.func @f(%x: tensor<4x4xf32>, %y: tensor<4xi32>) -> tensor<4x4xf32> {
  // expected-error @+1 {{operands differ in element type}}
  %r = graph.add %x, %y : tensor<4x4xf32>, tensor<4xi32>
  graph.return %r : tensor<4x4xf32>
}

// -----

// A slice lies within its input.
graph.func @f(%x: tensor<4x4xf32>) -> tensor<4x2xf32> {
  // expected-error @+1 {{columns 3 + 2 lie outside 4}}
  %r = graph.slice %x [3, 2] : tensor<4x4xf32> -> tensor<4x2xf32>
  graph.return %r : tensor<4x2xf32>
}

// -----

// Heads divide a row.
graph.func @f(%x: tensor<4x6xf32>, %p: tensor<4xi32>) -> tensor<4x6xf32> {
  // expected-error @+1 {{head_dim 4 and rotary_dim 4 do not divide a row of 6}}
  %r = graph.rope %x, %p {head_dim = 4 : i64, rotary_dim = 4 : i64, theta = 1.0e4 : f64} : tensor<4x6xf32>, tensor<4xi32>
  graph.return %r : tensor<4x6xf32>
}

// -----

// Indices are integers.
graph.func @f(%x: tensor<4xf32>, %w: tensor<8x4xf32>) -> tensor<4x4xf32> {
  // expected-error @+1 {{indices: expected integers, found 'tensor<4xf32>'}}
  %r = graph.embed %x, %w : tensor<4xf32>, tensor<8x4xf32> -> tensor<4x4xf32>
  graph.return %r : tensor<4x4xf32>
}

// -----

// A layer is one of the cache's.
!x = tensor<1x4xf32>
!c = !graph.cache<layers = 2, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
graph.func @f(%x: !x, %p: tensor<1xi32>, %t: tensor<1x1xi32>, %c: !c) -> !x {
  // expected-error @+1 {{layer 2 of a cache of 2}}
  %r = graph.attention %x, %x, %x at %p, %p, %t in %c {layer = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64} : !x, !x, !x, tensor<1xi32>, tensor<1xi32>, tensor<1x1xi32>, !c -> !x
  graph.return %r : !x
}

// -----

// A region gives what its yield says.
graph.func @f(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-error @+1 {{graph.yield does not give the results}}
  %r = graph.fused (%a = %x : tensor<4x4xf32>) -> (tensor<4x4xf32>) {
    graph.yield
  }
  graph.return %r : tensor<4x4xf32>
}

// -----

// The encoding names every dynamic dim.
// expected-error @+1 {{names 1 dims where the shape has 2 dynamic ones}}
graph.func @f(%x: tensor<?x?xf32, #graph.dims<@n>>) {
  graph.return
}

// -----

// A norm of heads divides its rows.
graph.func @f(%x: tensor<2x8xf32>, %w: tensor<3xf32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{weight: expected a size that divides rows of 8}}
  %r = graph.rms_norm %x, %w eps = 1.0e-6 : tensor<2x8xf32>, tensor<3xf32>
  graph.return %r : tensor<2x8xf32>
}

// -----

// There is a slope for every head.
!x = tensor<1x4xf32>
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
graph.func @f(%x: !x, %p: tensor<1xi32>, %t: tensor<1x1xi32>, %c: !c) -> !x {
  // expected-error @+1 {{slopes: expected 1 values, found 2}}
  %r = graph.attention %x, %x, %x at %p, %p, %t in %c {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64, slopes = array<f64: 0.5, 0.25>} : !x, !x, !x, tensor<1xi32>, tensor<1xi32>, tensor<1x1xi32>, !c -> !x
  graph.return %r : !x
}

// -----

// A window holds the token itself.
!x = tensor<1x4xf32>
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
graph.func @f(%x: !x, %p: tensor<1xi32>, %t: tensor<1x1xi32>, %c: !c) -> !x {
  // expected-error @+1 {{window: expected at least 1, found 0}}
  %r = graph.attention %x, %x, %x at %p, %p, %t in %c {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64, window = 0 : i64} : !x, !x, !x, tensor<1xi32>, tensor<1xi32>, tensor<1x1xi32>, !c -> !x
  graph.return %r : !x
}

// -----

// Who sees all of a sequence has no window.
!x = tensor<1x4xf32>
!c = !graph.cache<layers = 1, kv_heads = 1, head_dim = 4, page_size = 64, pages = @p, f32>
graph.func @f(%x: !x, %p: tensor<1xi32>, %t: tensor<1x1xi32>, %c: !c) -> !x {
  // expected-error @+1 {{lengths: expected neither window nor slopes}}
  %r = graph.attention %x, %x, %x at %p, %p, %t in %c of %p : tensor<1xi32> {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 4 : i64, scale = 0.5 : f64, window = 4 : i64} : !x, !x, !x, tensor<1xi32>, tensor<1xi32>, tensor<1x1xi32>, !c -> !x
  graph.return %r : !x
}

// -----

// A token takes no more experts than there are.
graph.func @f(%l: tensor<2x3xf32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{used: expected 1 to 3, found 4}}
  %a = graph.route %l {used = 4 : i64, normalize = true} : tensor<2x3xf32> -> tensor<2x8xf32>
  graph.return %a : tensor<2x8xf32>
}

// -----

// Experts have equal shares of a weight.
graph.func @f(%x: tensor<2x8xf32>, %r: tensor<2x4xf32>, %w: tensor<7x8xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{2 of 3 experts do not share 'tensor<7x8xf32>'}}
  %b = graph.experts_matmul %x, %r, %w {experts = 3 : i64, used = 2 : i64} : tensor<2x8xf32>, tensor<2x4xf32>, tensor<7x8xf32> -> tensor<2x4xf32>
  graph.return %b : tensor<2x4xf32>
}

// -----

// A product of codes gives i32.
graph.func @f(%x: tensor<1x4x4x3xui8>, %w: tensor<8x36xi8>) -> tensor<1x2x2x8xf32> {
  // expected-error @+1 {{a product of codes takes i8 or ui8, a weight of i8 and a bias of i32 and gives i32}}
  %y = graph.compute "conv"(%x, %w) {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : (tensor<1x4x4x3xui8>, tensor<8x36xi8>) -> tensor<1x2x2x8xf32>
  graph.return %y : tensor<1x2x2x8xf32>
}

// -----

// A weight of codes has whole taps.
graph.func @f(%x: tensor<1x4x4x3xui8>, %w: tensor<8x35xi8>) -> tensor<1x2x2x8xi32> {
  // expected-error @+1 {{8 rows and 9 times as many columns as a tap has, 27 in all at least}}
  %y = graph.compute "conv"(%x, %w) {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads_begin = array<i64: 0, 0>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : (tensor<1x4x4x3xui8>, tensor<8x35xi8>) -> tensor<1x2x2x8xi32>
  graph.return %y : tensor<1x2x2x8xi32>
}

// -----

// What lies outside of an image of codes is a code.
graph.func @f(%x: tensor<1x5x3xi8>, %w: tensor<8x4xi8>) -> tensor<1x5x8xi32> {
  // expected-error @+1 {{needs 'outside', an integer from -128 to 127}}
  %y = graph.compute "conv"(%x, %w) {kernel = array<i64: 1>, strides = array<i64: 1>, pads_begin = array<i64: 0>, pads_end = array<i64: 0>, dilations = array<i64: 1>, groups = 1 : i64, outside = 128 : i64} : (tensor<1x5x3xi8>, tensor<8x4xi8>) -> tensor<1x5x8xi32>
  graph.return %y : tensor<1x5x8xi32>
}

// -----

// Without spatial dims rows stay rows.
graph.func @f(%x: tensor<2x3x8xi8>, %w: tensor<4x8xi8>) -> tensor<2x2x4xi32> {
  // expected-error @+1 {{without spatial dims takes and gives rows}}
  %y = graph.compute "conv"(%x, %w) {kernel = array<i64>, groups = 1 : i64} : (tensor<2x3x8xi8>, tensor<4x8xi8>) -> tensor<2x2x4xi32>
  graph.return %y : tensor<2x2x4xi32>
}

// -----

// Codes are held to what their type reaches.
graph.func @f(%x: tensor<4xf32>, %s: tensor<f32>) -> tensor<4xui8> {
  // expected-error @+1 {{needs 'low', an integer from 0 to 255}}
  %y = graph.compute "quantize"(%x, %s) {zero = 3 : i64, low = -1 : i64, high = 255 : i64} : (tensor<4xf32>, tensor<f32>) -> tensor<4xui8>
  graph.return %y : tensor<4xui8>
}

// -----

// Codes stand for f32.
graph.func @f(%x: tensor<4xui8>) -> tensor<4xf16> {
  // expected-error @+1 {{gives f32, found 'f16'}}
  %y = graph.compute "dequantize"(%x) {zero = 3 : i64, scale = 0.5 : f64} : (tensor<4xui8>) -> tensor<4xf16>
  graph.return %y : tensor<4xf16>
}
