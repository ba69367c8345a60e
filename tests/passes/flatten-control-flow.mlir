// RUN: kiln-opt --form-kernels -split-input-file -verify-diagnostics %s | FileCheck %s

// Each side of an `if` computes in the memory of the result; a value from outside is copied there.
!x = tensor<4x16xf32>
// CHECK: %[[C:.*]] = exec.input "c"
// CHECK: %[[X:.*]] = exec.input "x"
// CHECK: %[[Y:.*]] = exec.output "y"
// CHECK: exec.branch %[[C]] else 0
// CHECK-NEXT: exec.launch @relu_16(%[[X]] {{.*}} -> (%[[Y]]
// CHECK-NEXT: exec.jump 1
// CHECK-NEXT: exec.mark 0
// CHECK-NEXT: exec.launch @identity_16(%[[X]] {{.*}} -> (%[[Y]]
// CHECK-NEXT: exec.mark 1
graph.func @f(%c: tensor<i1> {graph.name = "c"}, %x: !x {graph.name = "x"}) -> (!x {graph.name = "y"}) {
  %r = graph.if %c : tensor<i1> -> (!x) {
    %a = graph.fused (%i = %x : !x) -> (!x) {
      %b = graph.relu %i : !x
      graph.yield %b : !x
    }
    graph.yield %a : !x
  } else {
    graph.yield %x : !x
  }
  graph.return %r : !x
}

// -----

// What a loop carries lies in the results' memory. A value that is needed after the next one has been
// computed is not overwritten by that: it is copied at the end of the round.
!x = tensor<4x16xf32>
// CHECK: %[[C:.*]] = exec.input "c"
// CHECK: %[[X:.*]] = exec.input "x"
// CHECK: %[[Y:.*]] = exec.output "y"
// CHECK: %[[GO:.*]] = exec.buffer
// CHECK: %[[Z:.*]] = exec.buffer
// CHECK: exec.launch @identity{{.*}}(%[[C]] {{.*}} -> (%[[GO]]
// CHECK: exec.launch @identity{{.*}}(%[[X]] {{.*}} -> (%[[Y]]
// CHECK: exec.launch @identity{{.*}}(%[[X]] {{.*}} -> (%[[Z]]
// CHECK: exec.mark 0
// CHECK-NEXT: exec.branch %[[GO]] else 1
// CHECK: %[[T:.*]] = exec.buffer
// CHECK: exec.launch @relu_16(%[[Y]] {{.*}} -> (%[[T]]
// CHECK: exec.launch @tanh_16(%[[Y]] {{.*}} -> (%[[Z]]
// CHECK: exec.launch @identity{{.*}}(%[[C]] {{.*}} -> (%[[GO]]
// CHECK-NEXT: exec.launch @identity{{.*}}(%[[T]] {{.*}} -> (%[[Y]]
// CHECK-NEXT: exec.jump 0
// CHECK-NEXT: exec.mark 1
graph.func @f(%c: tensor<i1> {graph.name = "c"}, %x: !x {graph.name = "x"}) -> (!x {graph.name = "y"}) {
  %r:3 = graph.loop %c, %x, %x : tensor<i1>, !x, !x -> (tensor<i1>, !x, !x) {
  ^bb0(%go: tensor<i1>, %y: !x, %z: !x):
    %a = graph.fused (%i = %y : !x) -> (!x) {
      %b = graph.relu %i : !x
      graph.yield %b : !x
    }
    %d = graph.fused (%i = %y : !x) -> (!x) {
      %b = graph.tanh %i : !x
      graph.yield %b : !x
    }
    %next = graph.fused (%i = %c : tensor<i1>) -> (tensor<i1>) {
      %b = graph.compute "identity"(%i) {} : (tensor<i1>) -> tensor<i1>
      graph.yield %b : tensor<i1>
    }
    graph.yield %next, %a, %d : tensor<i1>, !x, !x
  }
  graph.return %r#1 : !x
}

// -----

// Two carried values that change places are saved first.
!x = tensor<16xf32>
// CHECK: %[[P:.*]] = exec.output "p"
// CHECK: %[[Q:.*]] = exec.output "q"
// CHECK: exec.mark 0
// CHECK: exec.launch @identity{{.*}}(%[[Q]] {{.*}} -> (%[[S:[0-9]+]]
// CHECK: exec.launch @identity{{.*}}(%[[P]] {{.*}} -> (%[[T:[0-9]+]]
// CHECK: exec.launch @identity{{.*}}(%[[S]] {{.*}} -> (%[[P]]
// CHECK: exec.launch @identity{{.*}}(%[[T]] {{.*}} -> (%[[Q]]
// CHECK-NEXT: exec.jump 0
graph.func @f(%c: tensor<i1> {graph.name = "c"}, %x: !x {graph.name = "x"}) -> (!x {graph.name = "p"}, !x {graph.name = "q"}) {
  %r:3 = graph.loop %c, %x, %x : tensor<i1>, !x, !x -> (tensor<i1>, !x, !x) {
  ^bb0(%go: tensor<i1>, %p: !x, %q: !x):
    graph.yield %go, %q, %p : tensor<i1>, !x, !x
  }
  graph.return %r#1, %r#2 : !x, !x
}

// -----

// Computed dims and what is derived from them reach the function; their values are read from memory.
!x = tensor<?xf32, #graph.dims<@c>>
// CHECK: dims [#exec.dim<"n" in[1, 8]>, #exec.dim<"c" in[0, 8] computed = true>, #exec.dim<"d" in[0, 16] is #{{.*}}>]
// CHECK: %[[V:.*]] = exec.input "v"
// CHECK: exec.set_dims [1] to %[[V]]
// CHECK-NEXT: exec.launch
graph.dim @n in [1, 8]
graph.dim @c in [0, 8] computed
graph.dim @d in [0, 16] is affine_map<()[n, c] -> (c * 2)>
graph.func @f(%v: tensor<1xi64> {graph.name = "v"}) -> (!x {graph.name = "y"}) {
  graph.set_dims [@c] to %v : tensor<1xi64>
  %a = graph.fused () -> (!x) {
    %b = graph.compute "iota"() {axis = 0 : i64} : () -> !x
    graph.yield %b : !x
  }
  graph.return %a : !x
}

// -----

// Only computed dims are set.
graph.dim @n in [1, 8]
graph.func @f(%v: tensor<1xi64> {graph.name = "v"}) -> () {
  // expected-error @+1 {{@n is no computed dim}}
  graph.set_dims [@n] to %v : tensor<1xi64>
  graph.return
}
