#!/usr/bin/env python3
"""Writes ONNX models of known shapes with random weights, as exporters write them.

    make_onnx_models.py FOLDER [mobilenet_v2 resnet50 vit_b_16 mobilenet_v2_int8] [minilm=HF_FOLDER]

minilm: a trained BERT encoder of a Hugging Face folder (model.safetensors), with dynamic batch and
sequence, its attention and GELU in primitives as torch's exporter writes them. Needs the PyPI packages numpy and onnx (and onnxruntime for the int8 model, which is calibrated on
random images). Weights are scaled so that activations neither vanish nor grow.
"""
import json
import math
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and initializers in order; values are names."""

    def __init__(self, seed):
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(seed)

    def constant(self, array, name=None):
        name = name or f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, fan_in):
        scale = math.sqrt(2.0 / fan_in)
        return self.constant(self.random.normal(0, scale, shape).astype(np.float32))

    def op(self, kind, *inputs, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name + "_out"], name=name, **attributes))
        return name + "_out"

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1):
        fan_in = inputs // groups * kernel * kernel
        pad = kernel // 2
        weight = self.weight(outputs, inputs // groups, kernel, kernel, fan_in=fan_in)
        bias = self.constant(self.random.normal(0, 0.05, outputs).astype(np.float32))
        return self.op("Conv", x, weight, bias, kernel_shape=[kernel, kernel], strides=[stride, stride],
                       pads=[pad] * 4, group=groups, dilations=[1, 1])

    def save(self, path, inputs, outputs):
        graph = helper.make_graph(self.nodes, os.path.basename(path).split(".")[0], inputs, outputs,
                                  self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


IMAGE = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 224, 224])
LOGITS = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1000])


def finish(g, x, channels, path):
    x = g.op("GlobalAveragePool", x)
    x = g.op("Flatten", x, axis=1)
    weight = g.weight(1000, channels, fan_in=channels)
    x = g.op("Gemm", x, weight, g.constant(np.zeros(1000, np.float32)), transB=1)
    g.nodes[-1].output[0] = "output"
    g.save(path, [IMAGE], [LOGITS])


def mobilenet_v2(path):
    g = Graph(1)
    low, high = g.constant(np.float32(0)), g.constant(np.float32(6))
    clip = lambda x: g.op("Clip", x, low, high)
    x, channels = clip(g.conv("input", 3, 32, 3, 2)), 32
    for expand, outputs, repeats, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                             (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(repeats):
            step, hidden, y = stride if i == 0 else 1, channels * expand, x
            if expand != 1:
                y = clip(g.conv(y, channels, hidden, 1))
            y = clip(g.conv(y, hidden, hidden, 3, step, hidden))
            y = g.conv(y, hidden, outputs, 1)
            x = g.op("Add", x, y) if step == 1 and channels == outputs else y
            channels = outputs
    finish(g, clip(g.conv(x, channels, 1280, 1)), 1280, path)


def resnet50(path):
    g = Graph(2)
    relu = lambda x: g.op("Relu", x)
    x = relu(g.conv("input", 3, 64, 7, 2))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, repeats, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for i in range(repeats):
            step = stride if i == 0 else 1
            y = relu(g.conv(x, channels, width, 1))
            y = relu(g.conv(y, width, width, 3, step))
            y = g.conv(y, width, width * 4, 1)
            # Sums of two branches of equal variance grow; the branch is halved.
            y = g.op("Mul", y, g.constant(np.float32(0.5)))
            short = x if i else g.conv(x, channels, width * 4, 1, step)
            x, channels = relu(g.op("Add", y, short)), width * 4
    finish(g, x, channels, path)


def vit_b_16(path, size=768, heads=12, layers=12):
    g = Graph(3)

    def linear(x, inputs, outputs):
        weight = g.constant(g.random.normal(0, 1 / math.sqrt(inputs), (inputs, outputs)).astype(np.float32))
        bias = g.constant(np.zeros(outputs, np.float32))
        return g.op("Add", bias, g.op("MatMul", x, weight))

    def norm(x):
        return g.op("LayerNormalization", x, g.constant(np.ones(size, np.float32)),
                    g.constant(np.zeros(size, np.float32)), axis=-1, epsilon=1e-6)

    shape = lambda *sizes: g.constant(np.array(sizes, np.int64))
    weight = g.weight(size, 3, 16, 16, fan_in=3 * 256)
    x = g.op("Conv", "input", weight, g.constant(np.zeros(size, np.float32)), kernel_shape=[16, 16],
             strides=[16, 16])
    x = g.op("Transpose", g.op("Reshape", x, shape(1, size, 196)), perm=[0, 2, 1])
    x = g.op("Concat", g.weight(1, 1, size, fan_in=2), x, axis=1)
    x = g.op("Add", x, g.weight(1, 197, size, fan_in=200))
    scale = g.constant(np.float32(1 / math.sqrt(size // heads)))
    for _ in range(layers):
        y = norm(x)
        split = lambda v, perm: g.op("Transpose", g.op("Reshape", v, shape(1, 197, heads, size // heads)),
                                     perm=perm)
        q = split(linear(y, size, size), [0, 2, 1, 3])
        k = split(linear(y, size, size), [0, 2, 3, 1])
        v = split(linear(y, size, size), [0, 2, 1, 3])
        scores = g.op("Softmax", g.op("MatMul", g.op("Mul", q, scale), k), axis=-1)
        y = g.op("Transpose", g.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        x = g.op("Add", x, linear(g.op("Reshape", y, shape(1, 197, size)), size, size))
        y = linear(norm(x), size, 4 * size)
        inner = g.op("Add", g.op("Erf", g.op("Div", y, g.constant(np.float32(math.sqrt(2))))),
                     g.constant(np.float32(1)))
        y = g.op("Mul", g.op("Mul", y, inner), g.constant(np.float32(0.5)))
        x = g.op("Add", x, linear(y, 4 * size, size))
    x = g.op("Gather", norm(x), g.constant(np.array(0, np.int64)), axis=1)
    weight = g.weight(1000, size, fan_in=size)
    g.op("Gemm", x, weight, g.constant(np.zeros(1000, np.float32)), transB=1)
    g.nodes[-1].output[0] = "output"
    g.save(path, [IMAGE], [LOGITS])


def mobilenet_v2_int8(path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    plain = path + ".f32.onnx"
    mobilenet_v2(plain)

    class Images(CalibrationDataReader):
        def __init__(self):
            random = np.random.default_rng(7)
            self.left = [random.normal(0, 1, (1, 3, 224, 224)).astype(np.float32) for _ in range(4)]

        def get_next(self):
            return {"input": self.left.pop()} if self.left else None

    quantize_static(plain, path, Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.remove(plain)


def read_safetensors(path):
    """Name -> array of an F32 file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F32":
                continue
            first, last = entry["data_offsets"]
            file.seek(start + first)
            tensors[name] = np.frombuffer(file.read(last - first), np.float32).reshape(entry["shape"])
    return tensors


def minilm(path, folder):
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    g = Graph(4)
    size, heads = config["hidden_size"], config["num_attention_heads"]
    depth = size // heads
    ints = lambda *values: g.constant(np.array(values, np.int64))
    named = lambda name: g.constant(weights[name], name)

    def linear(x, name):
        return g.op("Add", named(name + ".bias"),
                    g.op("MatMul", x, g.constant(weights[name + ".weight"].T.copy(), name + ".weight_t")))

    def norm(x, name):
        return g.op("LayerNormalization", x, named(name + ".weight"), named(name + ".bias"), axis=-1,
                    epsilon=config["layer_norm_eps"])

    shape = g.op("Shape", "input_ids")
    length = g.op("Gather", shape, ints(1), axis=0)
    table = weights["embeddings.position_embeddings.weight"]
    positions = g.op("Slice", g.constant(np.arange(len(table), dtype=np.int64)[None]), ints(0), length, ints(1))
    x = g.op("Add", g.op("Gather", named("embeddings.word_embeddings.weight"), "input_ids"),
             g.op("Gather", named("embeddings.token_type_embeddings.weight"), "token_type_ids"))
    x = g.op("Add", x, g.op("Gather", named("embeddings.position_embeddings.weight"), positions))
    x = norm(x, "embeddings.LayerNorm")
    mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", ints(1, 2)), to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", g.constant(np.float32(1)), mask),
                g.constant(np.float32(np.finfo(np.float32).min)))
    split = ints(0, 0, heads, depth)
    scale = g.constant(np.float32(math.sqrt(depth)))
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        part = lambda name, perm: g.op(
            "Transpose", g.op("Reshape", linear(x, layer + "attention.self." + name), split), perm=perm)
        q, k, v = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), scale), mask)
        y = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        y = linear(g.op("Reshape", y, ints(0, 0, size)), layer + "attention.output.dense")
        x = norm(g.op("Add", y, x), layer + "attention.output.LayerNorm")
        y = linear(x, layer + "intermediate.dense")
        inner = g.op("Add", g.op("Erf", g.op("Div", y, g.constant(np.float32(math.sqrt(2))))),
                     g.constant(np.float32(1)))
        y = g.op("Mul", g.op("Mul", y, inner), g.constant(np.float32(0.5)))
        x = norm(g.op("Add", linear(y, layer + "output.dense"), x), layer + "output.LayerNorm")
    g.op("Identity", x)
    g.nodes[-1].output[0] = "last_hidden_state"
    dims = ["batch", "seq"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, dims)
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    g.save(path, inputs, [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*dims, size])])


MODELS = {f.__name__: f for f in (mobilenet_v2, resnet50, vit_b_16, mobilenet_v2_int8)}


def main():
    wanted = [argument.partition("=") for argument in sys.argv[2:]] or [(name, "", "") for name in MODELS]
    if len(sys.argv) < 2 or any(name not in MODELS and name != "minilm" for name, _, _ in wanted):
        sys.exit(__doc__)
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, _, folder in wanted:
        path = os.path.join(sys.argv[1], name + ".onnx")
        if name == "minilm":
            minilm(path, folder)
        else:
            MODELS[name](path)
        print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
