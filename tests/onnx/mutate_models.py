#!/usr/bin/env python3
"""Hostile models: the node tests of libonnx-testdata, damaged at random, through `kiln compile`.

    mutate_models.py [--kiln build/release/bin/kiln] [--count 300] [--seed 1] [--data FOLDER] [--keep FOLDER]

Ranks, sizes and element types of inputs, attributes, edges, operators and opsets are changed, by a
seeded generator. Every model must be compiled, or refused with a message and exit code 1 within the
time and memory given: no signal, no other exit code, no silence. Models that fail are kept in the
folder. Needs the PyPI packages numpy and onnx, and the test data; without them it exits with 77.
"""
import argparse
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

try:
    import onnx
    from onnx import AttributeProto, TensorProto, helper
except ImportError as problem:
    print(f"SKIP: {problem}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 120, 8 << 30
TYPES = [t for t in range(1, 27)]
EXTENTS = [0, 1, 2, 3, 5, 7, 64, 4097, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 62, (1 << 63) - 1, -1, "n", "m"]
NUMBERS = [0, 1, -1, 2, 3, -2, -3, 5, 16, 255, 65536, (1 << 31) - 1, 1 << 31, -(1 << 31), (1 << 62), (1 << 63) - 1,
           -(1 << 63)]
REALS = [0.0, -1.0, 1.5, 1e-45, 3e38, float("inf"), float("-inf"), float("nan")]
WORDS = ["", "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "cubic", "nearest", "reflect", "edge", "wrap", "forward",
         "bidirectional", "reverse", "ij,jk->ik", "...i->", "i,i,i->ii", "add", "mul", "x" * 5000, "\u20ac"]


def shape_of(value):
    return value.type.tensor_type.shape if value.type.HasField("tensor_type") else None


def change_rank(model, r):
    value = r.choice(list(model.graph.input) + list(model.graph.output))
    shape = shape_of(value)
    if shape is None:
        return
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or -1 for d in shape.dim]
    for _ in range(r.randint(1, 3)):
        if dims and r.random() < 0.5:
            dims.pop(r.randrange(len(dims)))
        else:
            dims.insert(r.randint(0, len(dims)), r.choice(EXTENTS[:7] + ["n", "m"]))
    set_dims(shape, dims * (40 if r.random() < 0.03 else 1))


def set_dims(shape, dims):
    del shape.dim[:]
    for extent in dims:
        dim = shape.dim.add()
        if isinstance(extent, str):
            dim.dim_param = extent
        else:
            dim.dim_value = extent


def change_extent(model, r):
    shape = shape_of(r.choice(list(model.graph.input) + list(model.graph.output)))
    if shape is None or not shape.dim:
        return
    dim, extent = r.choice(list(shape.dim)), r.choice(EXTENTS)
    dim.Clear()
    if isinstance(extent, str):
        dim.dim_param = extent
    else:
        dim.dim_value = extent


def change_type(model, r):
    value = r.choice(list(model.graph.input) + list(model.graph.output))
    if value.type.HasField("tensor_type"):
        value.type.tensor_type.elem_type = r.choice(TYPES)


def nodes_of(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def change_attribute(model, r):
    node = r.choice(list(nodes_of(model.graph)))
    if not node.attribute or r.random() < 0.15:
        name = r.choice(["axis", "axes", "pads", "strides", "group", "kernel_shape", "to", "perm", "keepdims", "hidden_size",
                         "num_heads", "block_size", "mode", "auto_pad", "dilations", "epsilon", "value"])
        if name not in [a.name for a in node.attribute]:
            node.attribute.append(helper.make_attribute(name, r.choice([r.choice(NUMBERS), r.choice(REALS),
                                                                        r.choice(WORDS), [r.choice(NUMBERS)]])))
        return
    attribute = r.choice(list(node.attribute))
    if r.random() < 0.15:
        node.attribute.remove(attribute)
    elif attribute.type == AttributeProto.INT and r.random() < 0.8:
        attribute.i = r.choice(NUMBERS)
    elif attribute.type == AttributeProto.FLOAT and r.random() < 0.8:
        attribute.f = r.choice(REALS)
    elif attribute.type == AttributeProto.STRING and r.random() < 0.8:
        attribute.s = r.choice(WORDS).encode()
    elif attribute.type == AttributeProto.INTS and r.random() < 0.9:
        values = list(attribute.ints)
        if values and r.random() < 0.6:
            values[r.randrange(len(values))] = r.choice(NUMBERS)
        elif values and r.random() < 0.5:
            values.pop()
        else:
            values.append(r.choice(NUMBERS))
        del attribute.ints[:]
        attribute.ints.extend(values)
    elif attribute.type == AttributeProto.TENSOR and r.random() < 0.9:
        damage_tensor(attribute.t, r)
    else:
        name = attribute.name
        node.attribute.remove(attribute)
        node.attribute.append(helper.make_attribute(name, r.choice([r.choice(NUMBERS), r.choice(REALS), r.choice(WORDS),
                                                                    [r.choice(NUMBERS)] * r.randint(1, 4)])))


def damage_tensor(tensor, r):
    how = r.randrange(4)
    if how == 0:
        tensor.data_type = r.choice(TYPES)
    elif how == 1 and tensor.dims:
        tensor.dims[r.randrange(len(tensor.dims))] = r.choice([e for e in EXTENTS if not isinstance(e, str)])
    elif how == 2:
        tensor.dims.append(r.choice([0, 1, 2]))
    else:
        tensor.raw_data = tensor.raw_data[:-1]


def change_edge(model, r):
    node = r.choice(list(nodes_of(model.graph)))
    names = [i.name for i in model.graph.input] + [""]
    how = r.randrange(5)
    if how == 0 and node.input:
        node.input[r.randrange(len(node.input))] = r.choice(names)
    elif how == 1 and node.input:
        del node.input[r.randrange(len(node.input))]
    elif how == 2:
        node.input.append(r.choice(names))
    elif how == 3 and len(node.output) > 1:
        node.output[r.randrange(len(node.output))] = ""
    else:
        node.output.append(f"more{r.randrange(1000)}")


def change_operator(model, r):
    r.choice(list(nodes_of(model.graph))).op_type = r.choice(OPERATORS)


def change_opset(model, r):
    model.opset_import[0].version = r.choice([1, 6, 7, 9, 10, 11, 12, 13, 14, 17, 18, 21, 23, 26])


def make_constant(model, r):
    """An input becomes an initializer of small numbers, of its type or another."""
    value = r.choice(list(model.graph.input))
    shape = shape_of(value)
    if shape is None or any(not d.HasField("dim_value") for d in shape.dim):
        return
    count = 1
    dims = [d.dim_value for d in shape.dim]
    for extent in dims:
        count *= max(extent, 0)
    if count > 1 << 16:
        return
    kind = value.type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL) or r.random() < 0.2:
        kind = r.choice([TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32])
    choices = REALS[:3] if kind == TensorProto.FLOAT else [0, 1] if kind == TensorProto.BOOL else NUMBERS[:9]
    if kind == TensorProto.INT64 and r.random() < 0.3:
        choices = NUMBERS
    model.graph.initializer.append(helper.make_tensor(value.name, kind, [max(d, 0) for d in dims],
                                                      [r.choice(choices) for _ in range(count)]))
    model.graph.input.remove(value)


CHANGES = [change_rank, change_rank, change_extent, change_extent, change_type, change_attribute, change_attribute,
           change_attribute, change_edge, change_operator, change_opset, make_constant, make_constant]
OPERATORS = []


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def verdict(kiln, path, out, limited):
    """What is wrong with how the compiler took the file; empty where nothing is."""
    try:
        done = subprocess.run([str(kiln), "compile", str(path), "-o", str(out), "--quiet", "--threads", "1"],
                              capture_output=True, timeout=SECONDS, preexec_fn=limit_memory if limited else None)
    except subprocess.TimeoutExpired:
        return f"more than {SECONDS} s"
    text = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode not in (0, 1):
        return f"exit {done.returncode}: {text[-600:]}"
    if done.returncode == 1 and "error" not in text:
        return f"refused without a message: {text!r}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", default=ROOT / "build" / "release" / "bin" / "kiln")
    parser.add_argument("--data", default="/usr/share/libonnx-testdata/data", type=pathlib.Path)
    parser.add_argument("--count", default=300, type=int)
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--keep", type=pathlib.Path, help="where models go that fail")
    parser.add_argument("--no-memory-limit", action="store_true", help="for sanitizers, which reserve address space")
    args = parser.parse_args()
    files = sorted(args.data.glob("node/*/model.onnx")) + sorted(args.data.glob("simple/*/model.onnx"))
    if not files:
        print(f"SKIP: no models in {args.data}")
        return 77
    OPERATORS.extend(sorted({n.op_type for f in files for n in onnx.load(f).graph.node}))
    failures = refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(args.count):
            r = random.Random(args.seed * 1000003 + number)
            file = r.choice(files)
            model = onnx.load(file)
            if not model.graph.input or not list(nodes_of(model.graph)):
                continue
            changes = [r.choice(CHANGES) for _ in range(r.randint(1, 3))]
            try:
                for change in changes:
                    if model.graph.input:
                        change(model, r)
                path = pathlib.Path(scratch) / f"{number}.onnx"
                path.write_bytes(model.SerializeToString())
            except ValueError:  # not even protobuf takes it
                continue
            wrong = verdict(args.kiln, path, pathlib.Path(scratch) / "m.kiln", not args.no_memory_limit)
            if wrong:
                failures += 1
                print(f"{number} {file.parent.name} ({', '.join(c.__name__ for c in changes)}): {wrong}", flush=True)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{number}-{file.parent.name}.onnx").write_bytes(path.read_bytes())
            refused += not (pathlib.Path(scratch) / "m.kiln").exists()
            (pathlib.Path(scratch) / "m.kiln").unlink(missing_ok=True)
            path.unlink()
    print(f"{args.count} models, {refused} refused, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
