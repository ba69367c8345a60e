#!/usr/bin/env python3
"""Compares operators of com.microsoft with ONNX Runtime on random inputs.

Writes each operator as a model of one node and what ONNX Runtime gives for it as a test folder, and
runs kiln_onnx_conformance on these. Skips (77) where the packages onnx and onnxruntime are absent.

usage: compare_microsoft.py RUNNER WORK
"""
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

BATCH, ROWS, HEADS, DEPTH = 2, 5, 4, 8
WIDTH = HEADS * DEPTH
RANDOM = np.random.default_rng(1)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def kind_of(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def write(work, name, kind, inputs, outputs, constants=(), domain="com.microsoft", **attributes):
    """inputs: (name, array or None); outputs: names, or (name, type)."""
    given = {n: a for n, a in inputs if a is not None and n not in constants}
    outputs = [o if isinstance(o, tuple) else (o, TensorProto.FLOAT) for o in outputs]
    node = helper.make_node(kind, ["" if a is None else n for n, a in inputs], [n for n, _ in outputs],
                            domain=domain, **attributes)
    graph = helper.make_graph(
        [node], name, [helper.make_tensor_value_info(n, kind_of(a), a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info(n, k, None) for n, k in outputs if n],
        [numpy_helper.from_array(a, n) for n, a in inputs if n in constants])
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    results = session.run(None, given)
    for output, result in zip(model.graph.output, results):
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind_of(result), result.shape))
    folder = pathlib.Path(work) / "node" / f"test_{name}" / "test_data_set_0"
    folder.mkdir(parents=True)
    onnx.save(model, folder.parent / "model.onnx")
    for label, values, arrays in (("input", model.graph.input, [given[v.name] for v in model.graph.input]),
                                  ("output", model.graph.output, results)):
        for i, (value, array) in enumerate(zip(values, arrays)):
            tensor = numpy_helper.from_array(array, value.name)
            (folder / f"{label}_{i}.pb").write_bytes(tensor.SerializeToString())


def angles(pairs):
    turn = np.outer(np.arange(32), 1.0 / 10 ** np.arange(pairs))
    return [("c", np.cos(turn).astype(np.float32)), ("s", np.sin(turn).astype(np.float32))]


def attention(work):
    def qkv(rows=ROWS):
        return [("q", floats(BATCH, ROWS, WIDTH)), ("k", floats(BATCH, rows, WIDTH)),
                ("v", floats(BATCH, rows, WIDTH))]
    write(work, "multi_head", "MultiHeadAttention", qkv(7), ["y"], num_heads=HEADS)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
    write(work, "multi_head_mask", "MultiHeadAttention",
          qkv() + [("b", floats(3 * WIDTH)), ("m", mask)], ["y"], num_heads=HEADS)
    past = [("pk", floats(BATCH, HEADS, 3, DEPTH)), ("pv", floats(BATCH, HEADS, 3, DEPTH))]
    write(work, "multi_head_past", "MultiHeadAttention",
          qkv() + [("b", None), ("m", None), ("a", floats(1, HEADS, ROWS, ROWS + 3))] + past,
          ["y", "k2", "v2"], num_heads=HEADS)
    base = [("x", floats(BATCH, ROWS, WIDTH)), ("w", floats(WIDTH, 3 * WIDTH)), ("b", floats(3 * WIDTH))]
    write(work, "attention", "Attention", base, ["y"], constants=("w", "b"), num_heads=HEADS)
    write(work, "attention_lengths", "Attention", base + [("m", np.array([5, 3], np.int32))], ["y"],
          num_heads=HEADS)
    write(work, "attention_causal", "Attention", base, ["y"], num_heads=HEADS, unidirectional=1)
    depth = 16
    lengths = [("sl", np.array([7], np.int32)), ("tl", np.array([8], np.int32))]

    def grouped(rows):
        before = 8 - rows
        return [("q", floats(1, rows, HEADS * depth)), ("k", floats(1, rows, 2 * depth)),
                ("v", floats(1, rows, 2 * depth)), ("pk", floats(1, 2, before, depth)),
                ("pv", floats(1, 2, before, depth))] + lengths
    write(work, "group_query", "GroupQueryAttention", grouped(5) + angles(depth // 2), ["y", "k2", "v2"],
          num_heads=HEADS, kv_num_heads=2, do_rotary=1)
    write(work, "group_query_window", "GroupQueryAttention", grouped(1), ["y", "k2", "v2"],
          num_heads=HEADS, kv_num_heads=2, local_window_size=4)
    positions = np.tile(np.arange(ROWS), (BATCH, 1)).astype(np.int64)
    write(work, "rotary", "RotaryEmbedding",
          [("x", floats(BATCH, ROWS, WIDTH)), ("p", positions)] + angles(DEPTH // 2), ["y"])
    write(work, "rotary_offset", "RotaryEmbedding",
          [("x", floats(BATCH, HEADS, ROWS, DEPTH)), ("p", np.array([3], np.int64))] + angles(DEPTH // 2),
          ["y"], interleaved=1)


def norms(work):
    pair = [("x", floats(BATCH, ROWS, WIDTH)), ("k", floats(BATCH, ROWS, WIDTH)), ("g", floats(WIDTH))]
    write(work, "skip_layer_norm", "SkipLayerNormalization",
          pair + [("b", floats(WIDTH)), ("bias", floats(WIDTH))], ["y", "", "", "sum"], epsilon=1e-5)
    write(work, "skip_rms_norm", "SkipSimplifiedLayerNormalization", pair, ["y", "", "", "sum"],
          epsilon=1e-5)
    write(work, "rms_norm", "SimplifiedLayerNormalization", [pair[0], pair[2]], ["y"], domain="",
          epsilon=1e-5, axis=-1)
    ids = RANDOM.integers(0, 9, (BATCH, ROWS)).astype(np.int32)
    segments = RANDOM.integers(0, 2, (BATCH, ROWS)).astype(np.int32)
    write(work, "embed_layer_norm", "EmbedLayerNormalization",
          [("i", ids), ("sg", segments), ("wt", floats(9, WIDTH)), ("pt", floats(16, WIDTH)),
           ("st", floats(2, WIDTH)), ("g", floats(WIDTH)), ("b", floats(WIDTH))],
          ["y", ("mask", TensorProto.INT32)], epsilon=1e-5)


def products(work):
    depth, rows, block = 80, 24, 32
    blocks = -(-depth // block)
    for bits in (4, 8):
        codes = RANDOM.integers(0, 256, (rows, blocks, block * bits // 8)).astype(np.uint8)
        zeros = RANDOM.integers(0, 256, (rows * -(-blocks * bits // 8),)).astype(np.uint8)
        inputs = [("x", floats(3, depth)), ("q", codes), ("sc", np.abs(floats(rows * blocks)) / 10)]
        shape = dict(K=depth, N=rows, bits=bits, block_size=block)
        write(work, f"matmul_{bits}_bits", "MatMulNBits", inputs, ["y"], constants=("q", "sc"), **shape)
        write(work, f"matmul_{bits}_bits_zeros", "MatMulNBits", inputs + [("z", zeros)], ["y"],
              constants=("q", "sc", "z"), **shape)
    write(work, "fused_matmul", "FusedMatMul", [("x", floats(2, 5, 3)), ("w", floats(2, 4, 5))], ["y"],
          transA=1, transB=1, alpha=0.5)
    write(work, "fused_conv", "FusedConv",
          [("x", floats(1, 3, 6, 6)), ("w", floats(4, 3, 3, 3)), ("b", floats(4))], ["y"],
          constants=("w", "b"), activation="Relu", kernel_shape=[3, 3])


def activations(work):
    write(work, "quick_gelu", "QuickGelu", [("x", floats(3, 7))], ["y"])
    write(work, "fast_gelu", "FastGelu", [("x", floats(3, 7)), ("b", floats(7))], ["y"])
    write(work, "bias_gelu", "BiasGelu", [("x", floats(3, 7)), ("b", floats(7))], ["y"])


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    runner, work = sys.argv[1:]
    shutil.rmtree(work, ignore_errors=True)
    for family in (attention, norms, products, activations):
        family(work)
    # As they are, and imported with inputs of other ranks.
    modes = [subprocess.run([runner, "--data", work, "--groups", "node", "--work", work, "--mode", mode]).returncode
             for mode in ("given", "ranks")]
    return max(modes)


if __name__ == "__main__":
    sys.exit(main())
