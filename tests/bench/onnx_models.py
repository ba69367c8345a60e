"""ONNX models with the shapes of well-known networks and random weights, for measuring: ResNet-50,
MobileNetV2 and ViT-B/16, all for images of 224 x 224.

Needs numpy and onnx. `python onnx_models.py NAME FILE` writes one.
"""
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A graph under construction; methods add a node and return the name of its output."""

    def __init__(self, name):
        self.name, self.nodes, self.weights = name, [], []
        self.random = numpy.random.default_rng(1)

    def weight(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def normal(self, *shape, fan):
        return self.weight(self.random.normal(0, (2 / fan) ** 0.5, shape).astype(numpy.float32))

    def node(self, kind, *inputs, **attributes):
        output = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def conv(self, x, channels, outputs, kernel=1, stride=1, groups=1):
        depth = channels // groups
        w = self.normal(outputs, depth, kernel, kernel, fan=depth * kernel * kernel)
        b = self.weight(self.random.normal(0, 0.1, outputs).astype(numpy.float32))
        pad = kernel // 2
        return self.node("Conv", x, w, b, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                         pads=[pad] * 4, group=groups)

    def linear(self, x, depth, outputs):
        y = self.node("MatMul", x, self.normal(depth, outputs, fan=depth))
        return self.node("Add", y, self.weight(numpy.zeros(outputs, numpy.float32)))

    def model(self, inputs, output, shape):
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents)
                  for name, extents in inputs]
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, self.name, values, [result], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model


IMAGE = [("image", [1, 3, 224, 224])]


def classify(g, x, channels):
    pooled = g.node("Flatten", g.node("GlobalAveragePool", x))
    return g.node("Gemm", pooled, g.normal(1000, channels, fan=channels),
                  g.weight(numpy.zeros(1000, numpy.float32)), transB=1)


def resnet50():
    g = Graph("resnet50")
    x = g.node("Relu", g.conv("image", 3, 64, 7, 2))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            shortcut = g.conv(x, channels, 4 * width, 1, stride) if block == 0 else x
            y = g.node("Relu", g.conv(x, channels, width))
            y = g.node("Relu", g.conv(y, width, width, 3, stride))
            # Residuals are kept small, so that values stay of one size through all blocks.
            y = g.node("Mul", g.conv(y, width, 4 * width), g.weight(numpy.float32(0.25)))
            x = g.node("Relu", g.node("Add", y, shortcut))
            channels = 4 * width
    return g.model(IMAGE, classify(g, x, channels), [1, 1000])


def mobilenet_v2():
    g = Graph("mobilenet_v2")

    def clip(x):
        return g.node("Clip", x, low, high)

    low, high = g.weight(numpy.float32(0)), g.weight(numpy.float32(6))
    x, channels = clip(g.conv("image", 3, 32, 3, 2)), 32
    for expand, outputs, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                            (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            inner, y = channels * expand, x
            if expand > 1:
                y = clip(g.conv(y, channels, inner))
            y = clip(g.conv(y, inner, inner, 3, stride if block == 0 else 1, groups=inner))
            y = g.conv(y, inner, outputs)
            x = g.node("Add", x, y) if channels == outputs and block else y
            channels = outputs
    x = clip(g.conv(x, channels, 1280))
    return g.model(IMAGE, classify(g, x, 1280), [1, 1000])


def vit_b16(layers=12, width=768, heads=12):
    g = Graph("vit_b16")
    ints = lambda *values: g.weight(numpy.array(values, numpy.int64))  # noqa: E731
    w = g.normal(width, 3, 16, 16, fan=768)
    x = g.node("Conv", "image", w, g.weight(numpy.zeros(width, numpy.float32)),
               kernel_shape=[16, 16], strides=[16, 16])
    x = g.node("Transpose", g.node("Reshape", x, ints(1, width, 196)), perm=[0, 2, 1])
    x = g.node("Concat", g.normal(1, 1, width, fan=width), x, axis=1)
    x = g.node("Add", x, g.normal(1, 197, width, fan=width))

    def norm(x):
        return g.node("LayerNormalization", x, g.weight(numpy.ones(width, numpy.float32)),
                      g.weight(numpy.zeros(width, numpy.float32)), axis=-1, epsilon=1e-6)

    def split(x, perm):
        return g.node("Transpose", g.node("Reshape", x, ints(1, 197, heads, width // heads)), perm=perm)

    scale, half, one = (g.weight(numpy.float32(v)) for v in ((width // heads) ** -0.5, 0.5, 1.0))
    root = g.weight(numpy.float32(2 ** 0.5))
    for _ in range(layers):
        y = norm(x)
        q = split(g.linear(y, width, width), [0, 2, 1, 3])
        k = split(g.linear(y, width, width), [0, 2, 3, 1])
        v = split(g.linear(y, width, width), [0, 2, 1, 3])
        scores = g.node("Mul", g.node("MatMul", q, k), scale)
        y = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
        y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), ints(1, 197, width))
        x = g.node("Add", x, g.linear(y, width, width))
        y = g.linear(norm(x), width, 4 * width)
        gate = g.node("Add", g.node("Erf", g.node("Div", y, root)), one)
        y = g.node("Mul", g.node("Mul", y, gate), half)
        x = g.node("Add", x, g.linear(y, 4 * width, width))
    first = g.node("Gather", norm(x), g.weight(numpy.array(0, numpy.int64)), axis=1)
    y = g.node("Gemm", first, g.normal(1000, width, fan=width),
               g.weight(numpy.zeros(1000, numpy.float32)), transB=1)
    return g.model(IMAGE, y, [1, 1000])


MODELS = {"resnet50": resnet50, "mobilenet_v2": mobilenet_v2, "vit_b16": vit_b16}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        sys.exit(f"usage: onnx_models.py {{{','.join(MODELS)}}} FILE")
    onnx.save(MODELS[sys.argv[1]](), sys.argv[2])
