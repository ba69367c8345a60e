// RUN: kiln-opt --split-dynamic-loops -allow-unregistered-dialect -split-input-file %s | FileCheck %s

// A dynamic extent gives a loop for each tile size, each over the whole tiles of what is left.
// CHECK-LABEL: func @dynamic(%arg0: index, %arg1: index
// CHECK: %[[UP:.*]] = arith.maxsi %arg0, %arg1
// CHECK: %[[ALL:.*]] = arith.subi %[[UP]], %arg0
// CHECK: %[[FOURS:.*]] = arith.andi %[[ALL]]
// CHECK: %[[A:.*]] = arith.addi %arg0, %[[FOURS]]
// CHECK: scf.for %[[I:.*]] = %arg0 to %[[A]] step %c4
// CHECK-NEXT: "tile"(%[[I]]) : (index) -> tensor<4x16xf32>
// CHECK: arith.subi %[[UP]], %[[A]]
// CHECK: arith.divsi
// CHECK: scf.for %{{.*}} = %[[A]] to %[[B:.*]] step %c3
// CHECK: tensor<3x16xf32>
// CHECK: scf.for %{{.*}} = %[[B]] to %[[UP]] step %c1
// CHECK: tensor<1x16xf32>
// CHECK-NOT: scf.for
func.func @dynamic(%lower: index, %upper: index) {
  exec.tile_loop %lower to %upper tiles [4, 3, 1] {
  ^bb0(%row: index):
    %t = "tile"(%row) : (index) -> tensor<?x16xf32>
    exec.tile_yield
  }
  return
}

// -----

// Of a constant extent of 9, the loops for 8 and 1 are left; an empty extent leaves none.
// CHECK-LABEL: func @static
// CHECK: scf.for %{{.*}} = %c0 to %c8
// CHECK: tensor<8x16xf32>
// CHECK: scf.for %{{.*}} = %c8{{.*}} to %c9
// CHECK: tensor<1x16xf32>
// CHECK-NOT: "tile"
func.func @static() {
  %c0 = arith.constant 0 : index
  %c9 = arith.constant 9 : index
  exec.tile_loop %c0 to %c9 tiles [8, 4, 2, 1] {
  ^bb0(%row: index):
    %t = "tile"(%row) : (index) -> tensor<?x16xf32>
    exec.tile_yield
  }
  exec.tile_loop %c9 to %c0 tiles [8, 4, 2, 1] {
  ^bb0(%row: index):
    %t = "tile"(%row) : (index) -> tensor<?x16xf32>
    exec.tile_yield
  }
  return
}

// -----

// Tiles of an inner loop have the inner loop's heights, in each clone of the outer body; a tensor without
// a dynamic leading dim is no tile.
// CHECK-LABEL: func @nested
// CHECK: "outer"(%{{.*}}) : (index) -> (tensor<2x16xf32>, tensor<16x?xf32>)
// CHECK: "inner"(%{{.*}}) : (index) -> tensor<4x8xf32>
// CHECK: "inner"(%{{.*}}) : (index) -> tensor<1x8xf32>
// CHECK: "outer"(%{{.*}}) : (index) -> (tensor<1x16xf32>, tensor<16x?xf32>)
// CHECK: "inner"(%{{.*}}) : (index) -> tensor<4x8xf32>
// CHECK: "inner"(%{{.*}}) : (index) -> tensor<1x8xf32>
// CHECK-NOT: exec.tile_loop
func.func @nested(%n: index, %m: index) {
  %c0 = arith.constant 0 : index
  exec.tile_loop %c0 to %n tiles [2, 1] {
  ^bb0(%row: index):
    %t:2 = "outer"(%row) : (index) -> (tensor<?x16xf32>, tensor<16x?xf32>)
    exec.tile_loop %c0 to %m tiles [4, 1] {
    ^bb0(%column: index):
      %u = "inner"(%column) : (index) -> tensor<?x8xf32>
      exec.tile_yield
    }
    exec.tile_yield
  }
  return
}
