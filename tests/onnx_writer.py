"""Writes small ONNX models and tensors, after onnx.proto and protobuf's wire format; needs nothing but Python.

    model([node("Relu", ["x"], ["y"])], [value("x", FLOAT, ["N", 4])], [value("y", FLOAT, ["N", 4])])

usage: onnx_writer.py FOLDER    writes the seeds of tests/fuzz/fuzz_onnx.cpp
"""
import pathlib
import struct
import sys

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, INT4 = 1, 2, 3, 6, 7, 8, 9, 10, 22
FORMATS = {FLOAT: "f", UINT8: "B", INT8: "b", INT32: "i", INT64: "q", BOOL: "?", FLOAT16: "e"}


# ---- The wire format --------------------------------------------------------------------------------

def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    """An integer, a float, text or bytes (also of a message), or a list of them."""
    if isinstance(content, list):
        return b"".join(field(number, item) for item in content)
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


# ---- onnx.proto -------------------------------------------------------------------------------------

def tensor(name, dtype, dims, values, typed=None):
    """Values in raw_data, or in the field with the number `typed` (5: int32_data, 7: int64_data)."""
    head = field(1, list(dims)) + field(2, dtype) + field(8, name)
    if typed:
        return head + field(typed, b"".join(varint(int(v)) for v in values))
    return head + field(9, struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values))


def external(name, dtype, dims, location, offset=0):
    entries = [field(1, key) + field(2, text) for key, text in [("location", location), ("offset", str(offset))]]
    return field(1, list(dims)) + field(2, dtype) + field(8, name) + field(13, entries) + field(14, 1)


def tensor_type(dtype, dims):
    shape = b"" if dims is None else field(2, b"".join(
        field(1, b"" if dim is None else field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims))
    return field(1, field(1, dtype) + shape)


def value(name, dtype, dims=None):
    """An input or output; dims are numbers, names or None without a name; None instead of them for unknown."""
    return field(1, name) + field(2, tensor_type(dtype, dims))


class Message(bytes):
    """Bytes of a message whose kind an attribute cannot tell otherwise."""
    kind = None


class Tensor(Message):
    kind = 4, 5


class Graph(Message):
    kind = 5, 6


def attribute(name, content, ref=None):
    if ref:
        return field(1, name) + field(20, content) + field(21, ref)
    if isinstance(content, Message):
        kind, number = content.kind
        return field(1, name) + field(20, kind) + field(number, bytes(content))
    kinds = {float: (1, 2), int: (2, 3), str: (3, 4)}
    lists = {float: (6, 7), int: (7, 8), str: (8, 9)}
    kind, number = lists[type(content[0])] if isinstance(content, list) else kinds[type(content)]
    return field(1, name) + field(20, kind) + field(number, content)


def node(op, inputs, outputs, domain="", name="", **attributes):
    parts = field(1, inputs) + field(2, outputs) + field(3, name) + field(4, op)
    parts += field(7, domain) if domain else b""
    return parts + field(5, [item if isinstance(item, bytes) and not isinstance(item, Message) else attribute(key, item)
                             for key, item in attributes.items()])


def graph(nodes, inputs, outputs, initializers=(), sparse=()):
    return (field(1, list(nodes)) + field(2, "g") + field(5, list(initializers)) + field(11, list(inputs)) +
            field(12, list(outputs)) + field(15, list(sparse)))


def model(nodes, inputs, outputs, initializers=(), sparse=(), functions=(), opset=17, domains=()):
    opsets = [field(2, opset)] + [field(1, domain) + field(2, 1) for domain in domains]
    return (field(1, 8) + field(7, graph(nodes, inputs, outputs, initializers, sparse)) + field(8, opsets) +
            field(25, list(functions)))


def function(domain, name, inputs, outputs, nodes, attributes=(), defaults=()):
    return (field(1, name) + field(4, inputs) + field(5, outputs) + field(6, list(attributes)) + field(7, nodes) +
            field(9, field(2, 17)) + field(10, domain) + field(11, list(defaults)))


# ---- Models -----------------------------------------------------------------------------------------

def linear(rows="N"):
    """y [rows, 2] = Relu(x [rows, 3] times a matrix, plus a bias)."""
    return model([node("MatMul", ["x", "w"], ["product"]), node("Add", ["product", "b"], ["sum"]),
                  node("Relu", ["sum"], ["y"])],
                 [value("x", FLOAT, [rows, 3])], [value("y", FLOAT, [rows, 2])],
                 [tensor("w", FLOAT, [3, 2], [1, 2, 3, 4, 5, 6]), tensor("b", FLOAT, [2], [0.5, -20])])


def types():
    """A tensor of each way to write values, and attributes of several kinds."""
    return model([node("Custom", ["x", "", "h"], ["y"], alpha=0.5, axes=[1, 2], mode="linear", count=3, scales=[1.0, 2.0],
                       value=Tensor(tensor("t", INT64, [2], [1, -1], 7)))],
                 [value("x", INT32, None)], [value("y", FLOAT, [])],
                 [tensor("h", FLOAT16, [2], [1, 2]), tensor("i", INT4, [3], [0x21, 0x03], 5),
                  tensor("u", UINT8, [0], []), tensor("c", BOOL, [], [True]),
                  field(1, 1) + field(2, STRING) + field(6, "text") + field(8, "s")])


def branches():
    """An If in a Loop; both capture."""
    inner = Graph(graph([node("Mul", ["state", "x"], ["product"])], [], [value("product", FLOAT)]))
    other = Graph(graph([], [], [value("state", FLOAT)]))
    body = Graph(graph([node("If", ["on"], ["next"], then_branch=inner, else_branch=other)],
                       [value("i", INT64, []), value("on", BOOL, []), value("state", FLOAT)],
                       [value("on", BOOL), value("next", FLOAT)]))
    return model([node("Loop", ["trips", "", "x"], ["y"], body=body)], [value("x", FLOAT, [2])], [value("y", FLOAT)],
                 [tensor("trips", INT64, [], [3])])


def functions():
    """A function with a default and one that calls it."""
    scale = function("own", "Scale", ["a"], ["b"],
                     [node("Constant", [], ["f"], value_float=attribute("value_float", 1, ref="by")),
                      node("Mul", ["a", "f"], ["b"])], ["by"], [attribute("by", 2.0)])
    twice = function("own", "Twice", ["a"], ["c"],
                     [node("Scale", ["a"], ["b"], "own"), node("Scale", ["b"], ["c"], "own", by=0.5)])
    return model([node("Twice", ["x"], ["y"], "own")], [value("x", FLOAT, [2])], [value("y", FLOAT)],
                 functions=[scale, twice], domains=["own"])


def sparse():
    entry = field(1, tensor("w", FLOAT, [2], [1, 2])) + field(2, tensor("", INT64, [2], [1, 5])) + field(3, [2, 3])
    return model([node("Add", ["x", "w"], ["y"])], [value("x", FLOAT, [2, 3])], [value("y", FLOAT, [2, 3])],
                 sparse=[entry])


def beside():
    return model([node("Add", ["x", "w"], ["y"])], [value("x", FLOAT, [2])], [value("y", FLOAT, [2])],
                 [external("w", FLOAT, [2], "w.bin", 4)])


def unsorted():
    return model([node("Neg", ["a"], ["y"]), node("Abs", ["x"], ["a"])], [value("x", FLOAT, [2])],
                 [value("y", FLOAT, [2])])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make in (linear, types, branches, functions, sparse, beside, unsorted):
        (folder / make.__name__).write_bytes(make())
    (folder / "tensor").write_bytes(tensor("t", INT64, [3], [1, 300, -70000], 7))


if __name__ == "__main__":
    sys.exit(main())
