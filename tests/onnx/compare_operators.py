#!/usr/bin/env python3
"""Compares operators with ONNX Runtime where ONNX's own tests are small or have no case.

Writes models with random inputs and what ONNX Runtime gives for them as test folders, and runs
kiln_onnx_conformance on these. Skips (77) where the packages onnx and onnxruntime are absent.

usage: compare_operators.py RUNNER WORK [FILTER]
"""
import fnmatch
import pathlib
import shutil
import subprocess
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

CASES = []


def case(function):
    CASES.append(function)
    return function


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def kind_of(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


class Writer:
    def __init__(self, work, pattern):
        self.work, self.pattern, self.count = pathlib.Path(work) / "node", pattern, 0

    def add(self, name, nodes, inputs, outputs, constants=None, opset=17, expected=None):
        """inputs: name -> array; outputs: (name, type, shape or None); expected: instead of ONNX Runtime."""
        if not fnmatch.fnmatch(name, self.pattern):
            return
        graph = helper.make_graph(
            nodes, name,
            [value(n, kind_of(a), a.shape) for n, a in inputs.items()],
            [value(n, kind, shape) for n, kind, shape in outputs],
            [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        folder = self.work / f"test_{name}" / "test_data_set_0"
        folder.mkdir(parents=True)
        onnx.save(model, folder.parent / "model.onnx")
        results = expected or self.run_peer(model, inputs)
        for kind, arrays in (("input", inputs.items()),
                             ("output", zip([o[0] for o in outputs], results))):
            for i, (n, array) in enumerate(arrays):
                (folder / f"{kind}_{i}.pb").write_bytes(
                    numpy_helper.from_array(np.asarray(array), n).SerializeToString())
        self.count += 1

    @staticmethod
    def run_peer(model, inputs):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, inputs)


def floats(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


# ---- Recurrent operators ------------------------------------------------------------------------

def recurrent(w, name, op, gates, direction="forward", lengths=False, initial=False, peepholes=False,
              time=5, batch=3, size=7, hidden=20, fixed=True, biases=True, **attributes):
    d = 2 if direction == "bidirectional" else 1
    inputs = {"x": floats(time, batch, size)}
    weights = {"w": 0.4 * floats(d, gates * hidden, size), "r": 0.3 * floats(d, gates * hidden, hidden)}
    names = ["x", "w", "r", "", ""]
    if biases:
        weights["b"] = 0.2 * floats(d, 2 * gates * hidden)
        names[3] = "b"
    if lengths:
        inputs["n"] = np.array([time, 2, 0, time - 1, 1][:batch], np.int32)
        names[4] = "n"
    if initial:
        inputs["h"] = floats(d, batch, hidden, seed=1)
        names.append("h")
        if op == "LSTM":
            inputs["c"] = floats(d, batch, hidden, seed=2)
            names.append("c")
    if peepholes:
        names += [""] * (7 - len(names)) + ["p"]
        weights["p"] = 0.3 * floats(d, 3 * hidden)
    outputs = [("y", F, None), ("yh", F, None)] + ([("yc", F, None)] if op == "LSTM" else [])
    if not fixed:
        inputs.update(weights)
    node = helper.make_node(op, names, [o[0] for o in outputs], hidden_size=hidden,
                            direction=direction, **attributes)
    shapes = {"y": [time, d, batch, hidden], "yh": [d, batch, hidden], "yc": [d, batch, hidden]}
    outputs = [(n, k, shapes[n]) for n, k, _ in outputs]
    w.add(name, [node], inputs, outputs, weights if fixed else None)


@case
def recurrent_cases(w):
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        low = op.lower()
        for direction in ("forward", "reverse", "bidirectional"):
            recurrent(w, f"{low}_{direction}", op, gates, direction, initial=True)
            recurrent(w, f"{low}_{direction}_lengths", op, gates, direction, lengths=True, initial=True)
        recurrent(w, f"{low}_weights_given", op, gates, "bidirectional", fixed=False)
        recurrent(w, f"{low}_clip", op, gates, clip=0.3)
        recurrent(w, f"{low}_no_bias", op, gates, biases=False, hidden=13)
        recurrent(w, f"{low}_batch_4", op, gates, "bidirectional", batch=4, initial=True)
        recurrent(w, f"{low}_batch_6", op, gates, "reverse", batch=6, hidden=21)
        recurrent(w, f"{low}_one", op, gates, time=1, batch=1, hidden=32, size=64, initial=True)
    recurrent(w, "lstm_peepholes", "LSTM", 4, "bidirectional", peepholes=True, initial=True)
    recurrent(w, "lstm_input_forget", "LSTM", 4, input_forget=1)
    recurrent(w, "lstm_activations", "LSTM", 4, activations=["HardSigmoid", "Softsign", "Relu"],
              activation_alpha=[0.3], activation_beta=[0.4])
    recurrent(w, "gru_reset_after", "GRU", 3, "bidirectional", linear_before_reset=1, initial=True)
    recurrent(w, "gru_reset_after_batch_8", "GRU", 3, batch=8, linear_before_reset=1, initial=True)
    recurrent(w, "gru_reset_after_no_bias", "GRU", 3, linear_before_reset=1, biases=False)
    recurrent(w, "rnn_activations", "RNN", 1, "bidirectional", activations=["Elu", "LeakyRelu"],
              activation_alpha=[0.5, 0.1])


# ---- Control flow -------------------------------------------------------------------------------

def branch(name, nodes, output, kind, shape):
    return helper.make_graph(nodes, name, [], [value(output, kind, shape)])


@case
def if_cases(w):
    node = helper.make_node
    x = floats(4, 3)
    for flag in (True, False):
        then = branch("t", [node("Mul", ["x", "x"], ["a"])], "a", F, None)
        other = branch("e", [node("Neg", ["x"], ["b"])], "b", F, None)
        w.add(f"if_captures_{flag}", [node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
              {"x": x, "c": np.array(flag)}, [("y", F, [4, 3])])
        then = branch("t", [node("Concat", ["x", "x"], ["a"], axis=0)], "a", F, None)
        w.add(f"if_sizes_{flag}",
              [node("If", ["c"], ["z"], then_branch=then, else_branch=other),
               node("ReduceSum", ["z"], ["y"], keepdims=0), node("Shape", ["z"], ["s"])],
              {"x": x, "c": np.array(flag)}, [("y", F, []), ("s", I64, [2])])
        wide = branch("e", [node("Concat", ["x", "x"], ["b"], axis=1)], "b", F, None)
        w.add(f"if_two_sizes_{flag}",
              [node("If", ["c"], ["z"], then_branch=then, else_branch=wide),
               node("ReduceSum", ["z"], ["y"], keepdims=0), node("Shape", ["z"], ["s"])],
              {"x": x, "c": np.array(flag)}, [("y", F, []), ("s", I64, [2])])
        inner = node("If", ["d"], ["a"],
                     then_branch=branch("i", [node("Exp", ["x"], ["p"])], "p", F, None),
                     else_branch=branch("j", [node("Abs", ["x"], ["q"])], "q", F, None))
        then = branch("t", [inner], "a", F, None)
        w.add(f"if_nested_{flag}", [node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
              {"x": x, "c": np.array(flag), "d": np.array(not flag)}, [("y", F, [4, 3])])


@case
def loop_cases(w):
    node = helper.make_node
    one = numpy_helper.from_array(np.array(1.0, np.float32), "one")
    top = numpy_helper.from_array(np.array(30.0, np.float32), "top")
    carried = [value("i", I64, []), value("ci", BOOL, []), value("v", F, [3])]

    def add(name, body, rounds, condition, extra, outputs, opset=17):
        inputs = {"x": floats(3), "m": np.array(rounds, np.int64)}
        names = ["m", "", "x"]
        if condition is not None:
            inputs["k"] = np.array(condition)
            names[1] = "k"
        w.add(name, [node("Loop", names, [o[0] for o in outputs], body=body)], inputs, outputs,
              extra, opset)

    step = [node("Identity", ["ci"], ["co"]), node("Add", ["v", "bias"], ["vo"])]
    bias = {"bias": np.array([1, 2, 3], np.float32)}
    body = helper.make_graph(step, "b", carried, [value("co", BOOL, []), value("vo", F, [3])])
    for rounds in (0, 1, 7):
        add(f"loop_trips_{rounds}", body, rounds, None, bias, [("y", F, [3])])
        add(f"loop_condition_{rounds}", body, rounds, rounds != 7, bias, [("y", F, [3])])
    # A condition that the body computes, and rows that are collected.
    body = helper.make_graph(
        [node("Add", ["v", "bias"], ["vo"]), node("ReduceSum", ["vo"], ["s"], keepdims=0),
         node("Less", ["s", "top"], ["co"]), node("Mul", ["vo", "vo"], ["row"])],
        "b", carried, [value("co", BOOL, []), value("vo", F, [3]), value("row", F, [3])], [top])
    add("loop_until", body, 50, True, bias, [("y", F, [3]), ("rows", F, ["n", 3])])
    # A value that grows.
    grown = [value("i", I64, []), value("ci", BOOL, []), value("v", F, ["g"])]
    body = helper.make_graph(
        [node("Identity", ["ci"], ["co"]), node("Concat", ["v", "bias"], ["vo"], axis=0)],
        "b", grown, [value("co", BOOL, []), value("vo", F, ["h"])])
    for rounds in (0, 3):
        add(f"loop_grows_{rounds}", body, rounds, None, bias, [("y", F, ["l"])])
    # Two values that change places.
    both = carried + [value("u", F, [3])]
    body = helper.make_graph(
        [node("Identity", ["ci"], ["co"]), node("Identity", ["v"], ["uo"]), node("Add", ["u", "one"], ["vo"])],
        "b", both, [value("co", BOOL, []), value("vo", F, [3]), value("uo", F, [3])], [one])
    w.add("loop_swaps", [node("Loop", ["m", "", "x", "z"], ["y", "q"], body=body)],
          {"x": floats(3), "z": floats(3, seed=4), "m": np.array(5, np.int64)},
          [("y", F, [3]), ("q", F, [3])])


@case
def scan_cases(w):
    node = helper.make_node
    body = helper.make_graph(
        [node("Add", ["s", "a"], ["so"]), node("Mul", ["so", "b"], ["r"])], "b",
        [value("s", F, [4]), value("a", F, [4]), value("b", F, [4])],
        [value("so", F, [4]), value("r", F, [4])])
    for length in (3, 300):
        for reverse in (0, 1):
            for axis in (0, 1):
                shape = (4, length) if axis else (length, 4)
                w.add(f"scan_{length}_{reverse}_{axis}",
                      [node("Scan", ["s0", "p", "q"], ["y", "rows"], body=body, num_scan_inputs=2,
                            scan_input_axes=[axis, 0], scan_input_directions=[reverse, 0],
                            scan_output_axes=[axis], scan_output_directions=[reverse])],
                      {"s0": floats(4), "p": floats(*shape), "q": 0.1 * floats(length, 4, seed=3)},
                      [("y", F, [4]), ("rows", F, list(shape))])


# ---- Lookups and order --------------------------------------------------------------------------

@case
def lookup_cases(w):
    node = helper.make_node
    r = np.random.default_rng(5)
    data = floats(6, 5, 7)
    for axis in (0, 1, 2):
        n = data.shape[axis]
        w.add(f"gather_axis_{axis}", [node("Gather", ["x", "i"], ["y"], axis=axis)],
              {"x": data, "i": r.integers(-n, n, (2, 3))},
              [("y", F, None)])
        w.add(f"gather_one_{axis}", [node("Gather", ["x", "i"], ["y"], axis=axis)], {"x": data},
              [("y", F, None)], {"i": np.array(-2, np.int64)})
        shape = [4, 5, 6]
        shape[axis] = 9
        w.add(f"gather_elements_{axis}", [node("GatherElements", ["x", "i"], ["y"], axis=axis)],
              {"x": data, "i": r.integers(-n, n, shape)}, [("y", F, shape)])
        for reduction in ("none", "add", "mul", "max", "min"):
            places = np.stack([r.permutation(n)[:3] for _ in range(24)]).reshape(4, 6, 3) \
                if reduction == "none" else r.integers(-n, n, (4, 6, 3))
            places = np.moveaxis(places, 2, axis)[:6, :5, :7].astype(np.int64)
            w.add(f"scatter_elements_{axis}_{reduction}",
                  [node("ScatterElements", ["x", "i", "u"], ["y"], axis=axis, reduction=reduction)],
                  {"x": data, "i": places, "u": floats(*places.shape, seed=9)}, [("y", F, [6, 5, 7])],
                  opset=18)
    for depth in (1, 2, 3):
        places = np.stack([r.integers(-s, s, (4, 3)) for s in data.shape[:depth]], -1)
        w.add(f"gather_nd_{depth}", [node("GatherND", ["x", "i"], ["y"])], {"x": data, "i": places},
              [("y", F, None)])
        for reduction in ("add", "max"):
            w.add(f"scatter_nd_{depth}_{reduction}",
                  [node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)],
                  {"x": data, "i": places, "u": floats(4, 3, *data.shape[depth:], seed=2)},
                  [("y", F, [6, 5, 7])], opset=18)
    w.add("gather_nd_batch", [node("GatherND", ["x", "i"], ["y"], batch_dims=1)],
          {"x": data, "i": r.integers(0, 5, (6, 2, 1))}, [("y", F, None)])


@case
def order_cases(w):
    node = helper.make_node
    r = np.random.default_rng(6)
    for n, k in ((40, 5), (40, 40), (1000, 100)):
        for largest in (0, 1):
            x = r.integers(0, n // 2, (3, n)).astype(np.float32)  # with equal ones
            w.add(f"top_k_{n}_{k}_{largest}", [node("TopK", ["x", "k"], ["y", "i"], largest=largest)],
                  {"x": x}, [("y", F, [3, k]), ("i", I64, [3, k])], {"k": np.array([k], np.int64)})
    w.add("top_k_given", [node("TopK", ["x", "k"], ["y", "i"], axis=0)],
          {"x": floats(9, 4), "k": np.array([3], np.int64)}, [("y", F, ["k", 4]), ("i", I64, ["k", 4])])
    w.add("nonzero", [node("NonZero", ["x"], ["y"])],
          {"x": r.integers(0, 2, (5, 6, 7)).astype(np.float32)}, [("y", I64, [3, "n"])])
    w.add("nonzero_none", [node("NonZero", ["x"], ["i"]), node("Shape", ["i"], ["y"])],
          {"x": np.zeros((5, 6), np.float32)}, [("y", I64, [2])])
    x = r.integers(0, 9, (50,)).astype(np.float32)
    for sort in (0, 1):
        w.add(f"unique_{sort}", [node("Unique", ["x"], ["y", "f", "i", "c"], sorted=sort)], {"x": x},
              [("y", F, ["n"]), ("f", I64, ["n"]), ("i", I64, [50]), ("c", I64, ["n"])])
        rows = r.integers(0, 2, (4, 12, 2)).astype(np.float32)
        w.add(f"unique_axis_{sort}", [node("Unique", ["x"], ["y", "f", "i", "c"], sorted=sort, axis=1)],
              {"x": rows}, [("y", F, [4, "n", 2]), ("f", I64, ["n"]), ("i", I64, [12]), ("c", I64, ["n"])])
    corner, size = r.random((2, 300, 2)), 0.3 * r.random((2, 300, 2))
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32)
    scores = r.random((2, 3, 300)).astype(np.float32)
    for center in (0, 1):
        w.add(f"non_max_suppression_{center}",
              [node("NonMaxSuppression", ["b", "s", "m", "o", "t"], ["y"], center_point_box=center)],
              {"b": boxes, "s": scores}, [("y", I64, ["n", 3])],
              {"m": np.array([20], np.int64), "o": np.array([0.4], np.float32),
               "t": np.array([0.3], np.float32)})
    for axis in (0, 1):
        w.add(f"cumulative_sum_{axis}", [node("CumSum", ["x", "a"], ["y"], exclusive=axis, reverse=1)],
              {"x": floats(8, 9), "a": np.array(axis, np.int64)}, [("y", F, [8, 9])])
    w.add("determinant", [node("Det", ["x"], ["y"])], {"x": floats(3, 6, 6)}, [("y", F, [3])])
    w.add("range_given", [node("Range", ["a", "b", "c"], ["y"])],
          {"a": np.array(3, np.int64), "b": np.array(40, np.int64), "c": np.array(5, np.int64)},
          [("y", I64, ["n"])])
    w.add("compress_axis", [node("Compress", ["x", "c"], ["y"], axis=1)],
          {"x": floats(3, 8), "c": r.integers(0, 2, (6,)).astype(bool)}, [("y", F, [3, "n"])])


@case
def places_outside(w):
    """What lies outside a dim is brought to the nearest place inside; ONNX Runtime refuses it."""
    node = helper.make_node
    data, far = floats(6, 5), 10 ** 18
    given = np.array([0, 7, -9, far, -far, -1], np.int64)

    def inside(places, extent):
        return np.clip(np.where(places < 0, places + extent, places), 0, extent - 1)

    w.add("outside_gather", [node("Gather", ["x", "i"], ["y"], axis=0)], {"x": data, "i": given},
          [("y", F, [6, 5])], expected=[data[inside(given, 6)]])
    columns = np.stack([given] * 5, 1)
    w.add("outside_gather_elements", [node("GatherElements", ["x", "i"], ["y"], axis=0)],
          {"x": data, "i": columns}, [("y", F, [6, 5])],
          expected=[np.take_along_axis(data, inside(columns, 6), 0)])
    pairs = np.stack([given, given[::-1]], 1)
    w.add("outside_gather_nd", [node("GatherND", ["x", "i"], ["y"])], {"x": data, "i": pairs},
          [("y", F, [6])], expected=[data[inside(pairs[:, 0], 6), inside(pairs[:, 1], 5)]])
    updates, rows, cells = floats(6, 5, seed=1), data.copy(), data.copy()
    for i in range(6):
        for j in range(5):
            rows[inside(columns, 6)[i, j], j] = updates[i, j]
        cells[inside(pairs[i, 0], 6), inside(pairs[i, 1], 5)] = updates[i, 0]
    w.add("outside_scatter_elements", [node("ScatterElements", ["x", "i", "u"], ["y"], axis=0)],
          {"x": data, "i": columns, "u": updates}, [("y", F, [6, 5])], opset=18, expected=[rows])
    w.add("outside_scatter_nd", [node("ScatterND", ["x", "i", "u"], ["y"])],
          {"x": data, "i": pairs, "u": np.ascontiguousarray(updates[:, 0])}, [("y", F, [6, 5])],
          opset=18, expected=[cells])


def main():
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    runner, work = sys.argv[1], sys.argv[2]
    shutil.rmtree(work, ignore_errors=True)
    writer = Writer(work, sys.argv[3] if len(sys.argv) > 3 else "*")
    for write in CASES:
        write(writer)
    print(f"{writer.count} cases")
    sys.stdout.flush()
    return subprocess.run([runner, "--data", work, "--groups", "node", "--work", work]).returncode


if __name__ == "__main__":
    sys.exit(main())
