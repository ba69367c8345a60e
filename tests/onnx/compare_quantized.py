#!/usr/bin/env python3
"""Small quantized models through Kiln and ONNX Runtime: what becomes a product of codes, and what it gives.

    compare_quantized.py [--kiln build/release/bin/kiln] [--only GLOB]

Every case is a model with an output that is rounded to codes. ONNX Runtime runs it as it stands, without its
optimizations. A number that lies between two codes may be rounded either way, so codes may differ by one, in at most
one element of a hundred; integers must be equal. A case also says how many products of codes the compiler must find
in it: they are counted in the imported graph.

Needs the PyPI packages numpy, onnx and onnxruntime; without them it says so and exits with 77.
"""
import argparse
import fnmatch
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as problem:
    print(f"SKIP: {problem}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
U8, I8, F32, I32 = np.uint8, np.int8, np.float32, np.int32
SHARE = 0.01  # of elements that may be rounded the other way
CASES = []


class Model:
    """A graph as it is written: values are names."""

    def __init__(self, seed):
        self.nodes, self.inputs, self.outputs, self.constants = [], [], [], []
        self.random, self.count = np.random.default_rng(seed), 0
        self.steps = {}  # by output: the scale of its codes, 0 of integers

    def name(self, text="v"):
        self.count += 1
        return f"{text}{self.count}"

    def constant(self, array):
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind, inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def input(self, shape, dtype=F32):
        name = self.name("x")
        self.inputs.append((name, shape, dtype))
        return name

    def quantize(self, x, scale, zero):
        return self.node("QuantizeLinear", [x, self.constant(F32(scale)), self.constant(zero)])

    def dequantize(self, codes, scale, zero, **attributes):
        return self.node("DequantizeLinear", [codes, self.constant(np.asarray(scale, F32)), self.constant(zero)],
                         **attributes)

    def rounded(self, x, scale, zero):
        """x, rounded to codes and back."""
        return self.dequantize(self.quantize(x, scale, zero), scale, zero)

    def codes(self, shape, dtype, least=None, most=None):
        info = np.iinfo(dtype)
        return self.random.integers(info.min if least is None else least,
                                    (info.max if most is None else most) + 1, shape).astype(dtype)

    def weight(self, shape, dtype=I8, axis=0, per_axis=True, zero=0, least=None, most=None):
        """A dequantized constant; its scales."""
        codes = self.codes(shape, dtype, least, most)
        if not per_axis:
            scale = F32(0.02)
            return self.dequantize(self.constant(codes), scale, dtype(zero)), scale
        scales = self.random.uniform(0.005, 0.03, shape[axis]).astype(F32)
        zeros = np.full(shape[axis], zero, dtype)
        return self.dequantize(self.constant(codes), scales, zeros, axis=axis), scales

    def bias(self, count, scale):
        """Of i32 codes by the scale of the sums."""
        codes = self.random.integers(-2000, 2000, count).astype(I32)
        scales = np.broadcast_to(np.asarray(scale, F32), (count,)).copy()
        return self.dequantize(self.constant(codes), scales, np.zeros(count, I32), axis=0)

    def output(self, x, step):
        self.outputs.append(x)
        self.steps[x] = step

    def finish(self):
        def value(name, shape, dtype):
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        graph = helper.make_graph(
            self.nodes, "quantized", [value(*i) for i in self.inputs],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17),
                                                        helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 8
        return model


def case(products):
    def add(function):
        CASES.append((function.__name__, products, function))
        return function
    return add


# ---- Convolutions -----------------------------------------------------------------------------------

def convolve(m, x, x_scale, weight, scales, bias=True, **attributes):
    rows = len(scales) if np.ndim(scales) else None
    inputs = [x, weight]
    if bias:
        inputs.append(m.bias(rows or bias, np.asarray(scales, F32) * F32(x_scale)))
    return m.node("Conv", inputs, **attributes)


def conv_case(m, zero=U8(117), step=0.03, shape=(1, 16, 9, 11), kernel=(24, 16, 3, 3), out=(0.3, U8(128)), weights=None,
              **attributes):
    x = m.rounded(m.input(shape), step, zero)
    w, scales = m.weight(kernel, **(weights or {}))
    y = convolve(m, x, step, w, scales, kernel[0], **attributes)
    m.output(m.rounded(y, *out), out[0])


@case(1)
def conv_channels(m):
    """Scales of each channel, a zero point that is not 0, pads all around."""
    conv_case(m, pads=[1, 1, 1, 1])


@case(1)
def conv_asymmetric_pads(m):
    conv_case(m, pads=[0, 2, 1, 0], strides=[2, 1])


@case(1)
def conv_dilated(m):
    conv_case(m, pads=[2, 2, 2, 2], dilations=[2, 2])


@case(1)
def conv_signed(m):
    """Activations of i8."""
    conv_case(m, zero=I8(-11), out=(0.3, I8(3)), pads=[1, 1, 1, 1])


@case(1)
def conv_tensor_scale(m):
    conv_case(m, weights={"per_axis": False}, pads=[1, 1, 1, 1])


@case(1)
def conv_unsigned_weights(m):
    """Weights of u8 whose zero point makes them fit i8."""
    conv_case(m, weights={"dtype": U8, "zero": 128, "per_axis": False}, pads=[1, 1, 1, 1])


@case(0)
def conv_wide_weights(m):
    """Weights of u8 less their zero point do not fit i8."""
    conv_case(m, weights={"dtype": U8, "zero": 40, "per_axis": False}, pads=[1, 1, 1, 1])


@case(1)
def conv_odd_channels(m):
    conv_case(m, shape=(2, 7, 10, 6), kernel=(19, 7, 3, 2), pads=[1, 0, 1, 1])


@case(1)
def conv_first_layer(m):
    conv_case(m, shape=(1, 3, 32, 32), kernel=(32, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])


@case(1)
def conv_pointwise(m):
    conv_case(m, shape=(1, 24, 14, 14), kernel=(144, 24, 1, 1))


@case(1)
def conv_grouped(m):
    conv_case(m, shape=(1, 32, 8, 8), kernel=(48, 8, 3, 3), group=4, pads=[1, 1, 1, 1])


@case(1)
def conv_depthwise(m):
    conv_case(m, shape=(1, 40, 12, 12), kernel=(40, 1, 3, 3), group=40, pads=[1, 1, 1, 1])


@case(1)
def conv_depthwise_strided(m):
    conv_case(m, shape=(1, 36, 13, 13), kernel=(36, 1, 3, 3), group=36, pads=[1, 1, 1, 1], strides=[2, 2], zero=I8(5),
              out=(0.2, I8(-128)))


@case(1)
def conv_one_dim(m):
    conv_case(m, shape=(2, 12, 40), kernel=(20, 12, 5), pads=[2, 2])


@case(1)
def conv_three_dims(m):
    conv_case(m, shape=(1, 4, 5, 6, 7), kernel=(8, 4, 2, 3, 3), pads=[0, 1, 1, 1, 1, 1])


@case(1)
def conv_float_bias(m):
    x = m.rounded(m.input((1, 8, 6, 6)), 0.04, U8(99))
    w, _ = m.weight((16, 8, 3, 3))
    bias = m.constant(m.random.normal(size=16).astype(F32))
    m.output(m.rounded(m.node("Conv", [x, w, bias]), 0.2, U8(120)), 0.2)


@case(2)
def conv_relu6(m):
    """Relu and Clip between a product and its rounding are bounds of the codes."""
    x = m.rounded(m.input((1, 16, 9, 9)), 0.03, U8(128))
    w, scales = m.weight((32, 16, 1, 1))
    y = m.node("Relu", [convolve(m, x, 0.03, w, scales)])
    y = m.rounded(y, 0.05, U8(10))
    w, scales = m.weight((16, 32, 1, 1))
    y = convolve(m, y, 0.05, w, scales)
    y = m.node("Clip", [y, m.constant(F32(-1)), m.constant(F32(6))])
    m.output(m.rounded(y, 0.047, U8(64)), 0.047)


@case(3)
def residual(m):
    """Two convolutions meet in an addition, whose codes are read twice."""
    x = m.rounded(m.input((1, 24, 10, 10)), 0.03, U8(120))
    parts = []
    for k in (1, 3):
        w, scales = m.weight((24, 24, k, k))
        parts.append(m.rounded(convolve(m, x, 0.03, w, scales, pads=[k // 2] * 4), 0.25, U8(128 + k)))
    total = m.rounded(m.node("Add", parts), 0.35, U8(126))
    w, scales = m.weight((16, 24, 1, 1))
    y = m.rounded(convolve(m, total, 0.35, w, scales), 1.5, U8(127))
    m.output(y, 1.5)
    m.output(total, 0.35)


@case(2)
def concat_and_pools(m):
    x = m.rounded(m.input((1, 16, 12, 12)), 0.03, U8(120))
    parts = []
    for k in (1, 3):
        w, scales = m.weight((24, 16, k, k))
        parts.append(m.rounded(convolve(m, x, 0.03, w, scales, pads=[k // 2] * 4), 0.25, U8(130)))
    y = m.rounded(m.node("Concat", parts, axis=1), 0.25, U8(130))
    most = m.rounded(m.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2]), 0.25, U8(130))
    mean = m.rounded(m.node("AveragePool", [most], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0.2, U8(129))
    m.output(m.rounded(m.node("GlobalAveragePool", [mean]), 0.02, U8(128)), 0.02)


@case(1)
def quantized_weight_in_floats(m):
    """A weight that is rounded in the graph."""
    x = m.rounded(m.input((1, 16, 8, 8)), 0.03, U8(110))
    w = m.constant(m.random.normal(size=(16, 16, 3, 3)).astype(F32))
    m.output(m.rounded(m.node("Conv", [x, m.rounded(w, 0.03, I8(0))]), 0.5, U8(128)), 0.5)


@case(1)
def qlinear_conv(m):
    x = m.input((1, 16, 9, 9), U8)
    w = m.constant(m.codes((24, 16, 3, 3), I8))
    scales = m.random.uniform(0.005, 0.03, 24).astype(F32)
    inputs = [x, m.constant(F32(0.04)), m.constant(U8(77)), w, m.constant(scales), m.constant(np.zeros(24, I8)),
              m.constant(F32(0.5)), m.constant(U8(131)), m.constant(m.random.integers(-999, 999, 24).astype(I32))]
    m.output(m.node("QLinearConv", inputs, pads=[1, 1, 1, 1]), 1)


@case(1)
def conv_integer(m):
    inputs = [m.input((1, 5, 9, 9), U8), m.constant(m.codes((6, 5, 3, 3), U8, 100, 200)), m.constant(U8(40)),
              m.constant(U8(150))]
    m.output(m.node("ConvInteger", inputs, pads=[1, 1, 1, 1]), 0)


# ---- Matrices ---------------------------------------------------------------------------------------

def matmul_case(m, shape, weight, out, zero=U8(121), weights=None):
    x = m.rounded(m.input(shape), 0.03, zero)
    w, _ = m.weight(weight, axis=1, **(weights or {}))
    m.output(m.rounded(m.node("MatMul", [x, w]), *out), out[0])


@case(1)
def matmul(m):
    matmul_case(m, (13, 64), (64, 48), (0.2, U8(128)))


@case(1)
def matmul_three_dims(m):
    matmul_case(m, (2, 7, 50), (50, 33), (0.2, I8(4)), zero=I8(7))


@case(1)
def matmul_tensor_scale(m):
    matmul_case(m, (5, 32), (32, 16), (0.2, U8(128)),
                weights={"dtype": U8, "zero": 121, "per_axis": False, "least": 60, "most": 200})


@case(0)
def matmul_of_activations(m):
    """Neither operand is a constant."""
    x, y = (m.rounded(m.input(shape), 0.03, U8(128)) for shape in ((2, 5, 16), (2, 16, 9)))
    m.output(m.rounded(m.node("MatMul", [x, y]), 0.1, U8(128)), 0.1)


@case(1)
def gemm(m):
    x = m.rounded(m.input((4, 96)), 0.03, U8(114))
    w, scales = m.weight((40, 96))
    m.output(m.rounded(m.node("Gemm", [x, w, m.bias(40, scales * F32(0.03))], transB=1), 0.3, U8(127)), 0.3)


@case(1)
def gemm_float_bias(m):
    x = m.rounded(m.input((4, 20)), 0.03, U8(114))
    w, scales = m.weight((20, 30), axis=1)
    bias = m.constant(m.random.normal(size=(1, 30)).astype(F32))
    m.output(m.rounded(m.node("Gemm", [x, w, bias]), 0.05, U8(127)), 0.05)


@case(1)
def qlinear_matmul(m):
    inputs = [m.input((3, 5, 40), U8), m.constant(F32(0.02)), m.constant(U8(101)), m.constant(m.codes((40, 24), I8)),
              m.constant(F32(0.01)), m.constant(I8(0)), m.constant(F32(0.15)), m.constant(U8(140))]
    m.output(m.node("QLinearMatMul", inputs), 1)


@case(1)
def matmul_integer(m):
    inputs = [m.input((7, 30), U8), m.constant(m.codes((30, 20), I8)), m.constant(U8(13))]
    m.output(m.node("MatMulInteger", inputs), 0)


@case(2)
def matmul_integer_wide(m):
    """Codes less their zero points fit i8 only when they are shifted."""
    x, zero = m.input((2, 7, 30), U8), m.input((1,), U8)
    w = m.constant(m.codes((30, 20), U8))
    m.output(m.node("MatMulInteger", [x, w, zero, m.constant(U8(107))]), 0)
    m.output(m.node("MatMulInteger", [x, w, m.constant(U8(3)), m.constant(m.codes(20, U8))]), 0)


@case(1)
def dynamic_quantization(m):
    """What quantize_dynamic writes: the range of the activations is found while the model runs."""
    x = m.input((3, 11, 64))
    codes, scale, zero = m.node("DynamicQuantizeLinear", [x], 3)
    sums = m.node("MatMulInteger", [codes, m.constant(m.codes((64, 48), I8)), zero, m.constant(I8(0))])
    factor = m.node("Mul", [scale, m.constant(m.random.uniform(0.005, 0.03, 48).astype(F32))])
    y = m.node("Mul", [m.node("Cast", [sums], to=TensorProto.FLOAT), factor])
    m.output(m.node("Add", [y, m.constant(m.random.normal(size=48).astype(F32))]), 0.02)


# ---- Operators of com.microsoft ---------------------------------------------------------------------

def microsoft(m, kind, inputs, **attributes):
    return m.node(kind, inputs, domain="com.microsoft", **attributes)


def parameters(m, scale, zero):
    return [m.constant(F32(scale)), m.constant(zero)]


@case(0)
def qlinear_maps(m):
    x, y = m.input((2, 6, 8, 8), U8), m.input((2, 6, 8, 8), U8)
    sides = [x, *parameters(m, 0.02, U8(100)), y, *parameters(m, 0.03, U8(140))]
    m.output(microsoft(m, "QLinearAdd", sides + parameters(m, 0.05, U8(120))), 1)
    m.output(microsoft(m, "QLinearMul", sides + parameters(m, 0.06, U8(130))), 1)
    one = sides[:3]
    m.output(microsoft(m, "QLinearSigmoid", one + parameters(m, 1 / 256, U8(0))), 1)
    m.output(microsoft(m, "QLinearLeakyRelu", one + parameters(m, 0.02, U8(30)), alpha=0.2), 1)
    m.output(microsoft(m, "QLinearSoftmax", one + parameters(m, 1 / 256, U8(0)), axis=-1, opset=13), 1)
    m.output(microsoft(m, "QLinearGlobalAveragePool", one + parameters(m, 0.005, U8(90)), channels_last=0), 1)
    m.output(microsoft(m, "QLinearAveragePool", one + parameters(m, 0.017, U8(99)), kernel_shape=[3, 3],
                       pads=[1, 1, 1, 1]), 1)
    m.output(microsoft(m, "QLinearConcat", parameters(m, 0.03, U8(128)) + sides, axis=1), 1)


@case(1)
def qgemm(m):
    inputs = [m.input((5, 40), U8), *parameters(m, 0.02, U8(101)), m.constant(m.codes((24, 40), I8)),
              m.constant(m.random.uniform(0.005, 0.03, 24).astype(F32)), m.constant(np.zeros(24, I8)),
              m.constant(m.random.integers(-999, 999, 24).astype(I32))]
    m.output(microsoft(m, "QGemm", inputs + parameters(m, 0.3, U8(131)), transB=1), 1)
    m.output(microsoft(m, "QGemm", [inputs[0], *parameters(m, 0.02, U8(101)), m.input((40, 9), U8),
                                    *parameters(m, 0.01, U8(120))]), 1)


# ---- Running ----------------------------------------------------------------------------------------

def run_kiln(kiln, model, folder, feeds, outputs):
    def call(*arguments):
        done = subprocess.run([str(a) for a in (kiln, *arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"kiln {arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")

    (folder / "model.onnx").write_bytes(model.SerializeToString())
    call("compile", folder / "model.onnx", "-o", folder / "model.kiln", "--quiet", "--dump-after-each", folder / "ir")
    flags = []
    for name, array in feeds.items():
        np.save(folder / f"{name}.npy", array)
        flags += ["--input", f"{name}=@{folder}/{name}.npy"]
    for name in outputs:
        flags += ["--output", f"{name}=@{folder}/{name}.npy"]
    call("run", folder / "model.kiln", "--quiet", *flags)
    imported = sorted((folder / "ir").iterdir())[0].read_text()
    found = len(re.findall(r'"conv".*\(tensor<[^>]*x(?:ui8|i8)[^>]*>, tensor<\d+x\d+xi8', imported))
    return [np.load(folder / f"{name}.npy") for name in outputs], found


def run_peer(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def compare(kiln, name, products, build, seed):
    m = Model(seed)
    build(m)
    model = m.finish()
    feeds = {n: m.codes(shape, dtype) if dtype == U8 else m.random.normal(size=shape).astype(F32)
             for n, shape, dtype in m.inputs}
    with tempfile.TemporaryDirectory() as folder:
        results, found = run_kiln(kiln, model, pathlib.Path(folder), feeds, m.outputs)
    problems = [] if found == products else [f"{found} products of codes, expected {products}"]
    shares = []
    for output, got, expected in zip(m.outputs, results, run_peer(model, feeds)):
        if got.shape != expected.shape or got.dtype != expected.dtype:
            problems.append(f"{got.dtype}{got.shape}, expected {expected.dtype}{expected.shape}")
            continue
        step = m.steps[output]
        apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        shares.append(float((apart > 0.01 * step).mean()))
        if apart.max() > 1.01 * step or shares[-1] > SHARE:
            problems.append(f"{apart.max() / (step or 1):.3g} steps apart, {100 * shares[-1]:.2f} % of the elements")
    shown = ", ".join(f"{100 * share:.2f} %" for share in shares)
    print(f"{'FAIL' if problems else 'ok':5}{name:28} {found} products of codes; rounded otherwise: {shown}"
          + "".join(f"; {p}" for p in problems), flush=True)
    return not problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kiln", default=ROOT / "build" / "release" / "bin" / "kiln")
    parser.add_argument("--only", default="*")
    options = parser.parse_args()
    chosen = [c for c in CASES if fnmatch.fnmatch(c[0], options.only)]
    passed = sum(compare(options.kiln, *c, seed) for seed, c in enumerate(chosen))
    print(f"{passed} of {len(chosen)} cases agree")
    return 0 if passed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
