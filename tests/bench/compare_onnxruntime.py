#!/usr/bin/env python3
"""ONNX Runtime's time on models (make_onnx_models.py writes some), and on their layers.

usage: compare_onnxruntime.py MODEL.onnx... [--threads 1,2] [--layers]
                              [--shapes build/release/bin/kiln_conv_shapes]

Prints milliseconds of a call (the best and the median of many). --layers: what its profiler says of
convolutions and matmuls, by shape, as GFLOP/s. --shapes: kiln's kernels of the same shapes beside
it, in the same run. Needs onnxruntime and numpy; without them it says so and exits with 77.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy
    import onnxruntime
except ImportError as problem:
    print(f"SKIP: {problem}")
    sys.exit(77)


def options(threads):
    result = onnxruntime.SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    return result


def measure(model, threads, seconds=2.0):
    session = onnxruntime.InferenceSession(model, options(threads),
                                           providers=["CPUExecutionProvider"])
    feeds = {i.name: numpy.random.default_rng(2).normal(size=i.shape).astype(numpy.float32)
             for i in session.get_inputs()}
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return min(times), statistics.median(times)


def shape_of(event):
    """What a convolution or matmul multiplies, as conv_shapes.txt has it, and its products; or None.
    ONNX Runtime pads channels to whole blocks."""
    args = event["args"]
    inputs = [next(iter(i.values()), []) for i in args["input_type_shape"]]
    if args["op_name"] in ("Conv", "FusedConv") and len(inputs[0]) == 4:
        x, w, y = inputs[0], inputs[1], next(iter(args["output_type_shape"][0].values()))
        groups = x[1] // w[1] if w[1] != x[1] else 1
        shape = (x[0], x[2], x[3], x[1], y[1], w[2], round(x[2] / y[2]), 0 if x[2] // y[2] == w[2] else w[2] // 2,
                 groups)
        return shape, float(numpy.prod(y) * numpy.prod(w[1:]))
    if args["op_name"] in ("MatMul", "FusedMatMul", "Gemm") and len(inputs[1]) == 2:
        x, y = inputs[0], next(iter(args["output_type_shape"][0].values()))
        shape = (int(numpy.prod(x[:-1])), x[-1], y[-1])
        return shape, float(numpy.prod(shape))
    return None


def layer_times(model, threads, runs=30):
    """The shapes of a model: products, the least microseconds of many runs and how many nodes have
    them; and the microseconds of the other nodes, by operator."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = options(threads)
        chosen.enable_profiling = True
        chosen.profile_file_prefix = str(pathlib.Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, chosen,
                                               providers=["CPUExecutionProvider"])
        feeds = {i.name: numpy.zeros(i.shape, numpy.float32) + 0.5 for i in session.get_inputs()}
        for _ in range(runs):
            session.run(None, feeds)
        events = json.loads(pathlib.Path(session.end_profiling()).read_text())
    times = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            least, _ = times.get(event["name"], (1e30, None))
            times[event["name"]] = (min(least, event["dur"]), event)
    shapes, others = {}, collections.Counter()
    for duration, event in times.values():
        found = shape_of(event)
        if not found:
            others[event["args"]["op_name"]] += duration
            continue
        shape, products = found
        least, count = shapes.get(shape, (products, 1e30, 0))[1:]
        shapes[shape] = (products, min(least, duration), count + 1)
    return shapes, others


def kiln_times(program, shapes, threads):
    """Microseconds of kiln's kernels of these shapes."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        names = {}
        for i, shape in enumerate(shapes):
            names[f"s{i}"] = shape
            file.write(f"s{i} " + " ".join(map(str, shape)) + "\n")
        file.flush()
        text = subprocess.run([program, file.name, "--threads", str(threads)], check=True,
                              capture_output=True, text=True).stdout
    return {names[line.split()[0]]: float(line.split()[2])
            for line in text.splitlines() if not line.startswith("#")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.onnx")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--shapes", help="the program kiln_conv_shapes")
    args = parser.parse_args()
    for model in args.models:
        name = pathlib.Path(model).stem
        for threads in map(int, args.threads.split(",")):
            best, median = measure(model, threads)
            print(f"{name}, {threads} threads: onnxruntime {best * 1e3:.2f} ms (median {median * 1e3:.2f})",
                  flush=True)
            if not args.layers and not args.shapes:
                continue
            shapes, others = layer_times(model, threads)
            ours = kiln_times(args.shapes, shapes, threads) if args.shapes else {}
            total = [0.0, 0.0]
            for shape, (products, duration, count) in shapes.items():
                line = (f"  {' '.join(map(str, shape)):<36} x{count:<3} {duration:8.0f} us "
                        f"{2e-3 * products / duration:7.1f} GFLOP/s")
                total[0] += count * duration
                if shape in ours:
                    total[1] += count * ours[shape]
                    line += f"   kiln {ours[shape]:8.0f} us, {duration / ours[shape]:.2f}x"
                print(line)
            print(f"  all of them {total[0] / 1e3:.2f} ms" +
                  (f", kiln {total[1] / 1e3:.2f} ms, {total[0] / total[1]:.2f}x" if ours else "") +
                  "; others: " + ", ".join(f"{k} {v / 1e3:.2f}" for k, v in others.most_common(8)), flush=True)


if __name__ == "__main__":
    main()
