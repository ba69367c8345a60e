"""A transformer's layer that is written out in primitives: its operators are named, its values those of plain Python."""
import math
import pathlib
import random
import re

from cases_arrays import compile_model, onnx, read_floats, write_npy
from harness import case, expect, expect_equal

WIDTH, DEPTH, INNER, EPS = 32, 16, 48, 1e-5  # two query heads share one key head
HIDDEN = -3.4028234663852886e38


def weights():
    source = random.Random(7)
    shapes = {"g": [WIDTH], "wq": [WIDTH, WIDTH], "wk": [WIDTH, DEPTH], "wv": [WIDTH, DEPTH], "wo": [WIDTH, WIDTH],
              "g2": [WIDTH], "b2": [WIDTH], "w1": [WIDTH, INNER], "b1": [INNER], "w2": [INNER, WIDTH]}
    values = {name: [source.uniform(-0.5, 0.5) for _ in range(math.prod(shape))] for name, shape in shapes.items()}
    values["f"], shapes["f"] = [10 ** (-i / 4) for i in range(DEPTH // 2)], [DEPTH // 2]
    return shapes, values


def layer():
    """y = h + MLP(layer norm(h)), h = x + attention(rms norm(x)) with rotated heads; x [B, S, 32], mask [B, 1, 1, S]."""
    nodes, constants = [], []

    def op(kind, *inputs, **attributes):
        name = f"v{len(nodes)}"
        nodes.append(onnx.node(kind, list(inputs), [name], **attributes))
        return name

    def number(value):
        constants.append(onnx.tensor(f"c{len(constants)}", onnx.FLOAT, [], [value]))
        return f"c{len(constants) - 1}"

    def integers(*values):
        constants.append(onnx.tensor(f"c{len(constants)}", onnx.INT64, [len(values)], values))
        return f"c{len(constants) - 1}"

    def mean(x):
        return op("ReduceMean", x, axes=[-1], keepdims=1)

    def heads(x, weight, count):
        return op("Transpose", op("Reshape", op("MatMul", x, weight), integers(0, 0, count, DEPTH)), perm=[0, 2, 1, 3])

    def rotated(x):
        first = op("Slice", x, integers(0), integers(DEPTH // 2), integers(3))
        second = op("Slice", x, integers(DEPTH // 2), integers(DEPTH), integers(3))
        turned = op("Concat", op("Neg", second), first, axis=-1)
        return op("Add", op("Mul", x, cosines), op("Mul", turned, sines))

    def repeated(x):
        wide = op("Expand", op("Unsqueeze", x, integers(2)), integers(1, 1, 2, 1, 1))
        return op("Reshape", wide, integers(0, 2, -1, DEPTH))

    root = op("Sqrt", op("Add", mean(op("Pow", "x", number(2.0))), number(EPS)))
    normed = op("Mul", "g", op("Mul", "x", op("Reciprocal", root)))
    constants += [onnx.tensor("zero", onnx.INT64, [], [0]), onnx.tensor("one", onnx.INT64, [], [1])]
    rows = op("Range", "zero", op("Gather", op("Shape", "x"), "one"), "one")
    angles = op("Mul", op("Unsqueeze", op("Cast", rows, to=onnx.FLOAT), integers(1)), "f")
    angles = op("Concat", angles, angles, axis=-1)
    cosines, sines = op("Cos", angles), op("Sin", angles)
    q, k, v = rotated(heads(normed, "wq", 2)), rotated(heads(normed, "wk", 1)), heads(normed, "wv", 1)
    scores = op("Mul", op("MatMul", q, op("Transpose", repeated(k), perm=[0, 1, 3, 2])), number(DEPTH ** -0.5))
    shares = op("Softmax", op("Add", scores, "mask"), axis=-1)
    seen = op("Transpose", op("MatMul", shares, repeated(v)), perm=[0, 2, 1, 3])
    h = op("Add", "x", op("MatMul", op("Reshape", seen, integers(0, 0, WIDTH)), "wo"))
    centred = op("Sub", h, mean(h))
    root = op("Sqrt", op("Add", mean(op("Mul", centred, centred)), number(EPS)))
    u = op("Add", op("Mul", op("Div", centred, root), "g2"), "b2")
    u = op("Add", op("MatMul", u, "w1"), "b1")
    u = op("Mul", op("Mul", u, op("Add", op("Erf", op("Div", u, number(math.sqrt(2)))), number(1.0))), number(0.5))
    nodes.append(onnx.node("Add", [op("MatMul", u, "w2"), h], ["y"]))
    shapes, values = weights()
    constants += [onnx.tensor(name, onnx.FLOAT, shapes[name], values[name]) for name in shapes]
    return onnx.model(nodes, [onnx.value("x", onnx.FLOAT, ["B", "S", WIDTH]),
                              onnx.value("mask", onnx.FLOAT, ["B", 1, 1, "S"])],
                      [onnx.value("y", onnx.FLOAT, ["B", "S", WIDTH])], constants)


# ---- The same in plain Python, for one sequence -----------------------------------------------------------------

def expected(x, mask):
    _, w = weights()

    def product(row, matrix, columns):
        return [sum(a * matrix[i * columns + j] for i, a in enumerate(row)) for j in range(columns)]

    def normalized(row, centre):
        row = [a - centre for a in row]
        root = math.sqrt(sum(a * a for a in row) / len(row) + EPS)
        return [a / root for a in row]

    def rotated(head, place):
        half = DEPTH // 2
        turns = [(math.cos(place * f), math.sin(place * f)) for f in w["f"]]
        return ([head[i] * c - head[i + half] * s for i, (c, s) in enumerate(turns)] +
                [head[i + half] * c + head[i] * s for i, (c, s) in enumerate(turns)])

    normed = [[a * g for a, g in zip(normalized(row, 0), w["g"])] for row in x]
    queries = [product(row, w["wq"], WIDTH) for row in normed]
    keys = [rotated(product(row, w["wk"], DEPTH), i) for i, row in enumerate(normed)]
    values = [product(row, w["wv"], DEPTH) for row in normed]
    results = []
    for place, row in enumerate(x):
        seen = []
        for start in (0, DEPTH):
            q = rotated(queries[place][start:start + DEPTH], place)
            scores = [sum(a * b for a, b in zip(q, key)) * DEPTH ** -0.5 + m for key, m in zip(keys, mask)]
            powers = [math.exp(score - max(scores)) for score in scores]
            seen += [sum(p * value[j] for p, value in zip(powers, values)) / sum(powers) for j in range(DEPTH)]
        h = [a + b for a, b in zip(row, product(seen, w["wo"], WIDTH))]
        u = [a * g + b for a, g, b in zip(normalized(h, sum(h) / WIDTH), w["g2"], w["b2"])]
        u = [a + b for a, b in zip(product(u, w["w1"], INNER), w["b1"])]
        u = [a / 2 * (1 + math.erf(a / math.sqrt(2))) for a in u]
        results += [a + b for a, b in zip(product(u, w["w2"], WIDTH), h)]
    return results


@case("recognition/transformer-layer")
def transformer_layer(tools):
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, layer(), "--dim", "B=1..4", "--dim", "S=1..16",
                                 "--dump-after-each", folder)
        named, = folder.glob("*-recognize-operators.mlir")
        found = re.findall(r'graph.compute "(\w+)"', named.read_text())
        kinds = {kind: found.count(kind) for kind in ("attention", "rotate", "rms_norm", "layer_norm", "gelu", "softmax")}
        expect_equal(kinds, {"attention": 1, "rotate": 2, "rms_norm": 1, "layer_norm": 1, "gelu": 1, "softmax": 0}, "ops")
        source = random.Random(3)
        for batch, rows in ((1, 1), (2, 5), (3, 16)):
            x = [[[source.uniform(-2, 2) for _ in range(WIDTH)] for _ in range(rows)] for _ in range(batch)]
            mask = [[0 if j <= i % 3 + rows // 2 else HIDDEN for j in range(rows)] for i in range(batch)]
            write_npy(folder / "x.npy", [a for s in x for row in s for a in row], (batch, rows, WIDTH))
            write_npy(folder / "mask.npy", [a for row in mask for a in row], (batch, 1, 1, rows))
            tools.run(tools.kiln, "run", artifact, "--input", f"x=@{folder}/x.npy",
                      "--input", f"mask=@{folder}/mask.npy", "--output", f"y=@{folder}/y.npy")
            shape, got = read_floats(folder / "y.npy")
            expect_equal(shape, (batch, rows, WIDTH), "shape")
            wanted = [a for s, m in zip(x, mask) for a in expected(s, m)]
            error = max(abs(a - b) for a, b in zip(got, wanted)) / max(map(abs, wanted))
            expect(error < 1e-5, f"{batch} sequences of {rows}: error {error}")
