"""Models of arrays: compiled from ONNX files that the cases write, run with .npy and .pb files, verified, timed."""
import json
import pathlib
import struct
import subprocess
import sys

from harness import ROOT, case, expect, expect_equal

sys.path.insert(0, str(ROOT / "tests"))
import onnx_writer as onnx  # noqa: E402


def compile_model(tools, folder, content, *flags, name="net.onnx"):
    (folder / name).write_bytes(content)
    tools.run(tools.kiln, "compile", folder / name, "-o", folder / "net.kiln", "--quiet", *flags)
    return folder / "net.kiln"


def write_npy(path, values, shape, descr="<f4", code="f"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header +
                     struct.pack(f"<{len(values)}{code}", *values))


def read_floats(path):
    data = path.read_bytes()
    length, = struct.unpack_from("<H", data, 8)
    header = eval(data[10:10 + length].decode(), {"__builtins__": {}})  # a literal dict, by the format
    expect_equal(header["descr"], "<f4", "dtype")
    body = data[10 + length:]
    return header["shape"], list(struct.unpack(f"<{len(body) // 4}f", body))


X = [1, 0, 0, 0, 1, 1]
Y = [1.5, 0, 8.5, 0]  # onnx_writer.linear() of X, with its bias of 0.5 and -20


@case("arrays/run-files")
def run_files(tools):
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, onnx.linear(), "--dim", "N=1..64")
        write_npy(folder / "x.npy", X, (2, 3))
        out, _ = tools.run(tools.kiln, "run", artifact, "--input", f"x=@{folder}/x.npy", "--output", f"y=@{folder}/y.npy")
        expect_equal(out, "y: float32 [2, 2] 1.5 0 8.5 0\n", "what run prints")
        expect_equal(read_floats(folder / "y.npy"), ((2, 2), Y), "y.npy")
        (folder / "x.pb").write_bytes(onnx.tensor("x", onnx.FLOAT, [2, 3], X))
        for given in (f"@{folder}/x.pb", f"x=@{folder}/x.pb", "x=1,0,0,0,1,1", "x=[[1, 0, 0], [0, 1, 1]]"):
            out, _ = tools.run(tools.kiln, "run", artifact, "--input", given, "--json")
            found = json.loads(out)
            expect_equal(found["dims"], {"N": 2}, "dims")
            expect_equal(found["outputs"][0]["first_values"], Y, given)
            expect_equal(found["outputs"][0]["shape"], [2, 2], given)


@case("arrays/run-random")
def run_random(tools):
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, onnx.linear())
        seeds = [tools.run(tools.kiln, "run", artifact, "--random-inputs", "--dim", "N=3", "--seed", seed)[0]
                 for seed in (1, 1, 2)]
        expect(seeds[0].startswith("y: float32 [3, 2] "), seeds[0])
        expect_equal(seeds[0], seeds[1], "outputs of one seed")
        expect(seeds[0] != seeds[2], f"outputs of two seeds are the same: {seeds[0]}")


@case("arrays/run-refuses")
def run_refuses(tools):
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, onnx.linear(), "--dim", "N=1..4")
        write_npy(folder / "long.npy", [0] * 15, (5, 3))
        write_npy(folder / "wide.npy", [0] * 8, (2, 4))
        write_npy(folder / "ints.npy", [0] * 3, (1, 3), "<i4", "i")
        (folder / "cut.npy").write_bytes((folder / "long.npy").read_bytes()[:100])
        for flags, expected in [
                ([], "dim N: give --dim N=VALUE, from 1 to 4"),
                (["--random-inputs"], "dim N: give --dim N=VALUE, from 1 to 4"),
                (["--dim", "N=2"], "input x: expected a value, float32 [N, 3]"),
                (["--dim", "M=2", "--random-inputs"], "--dim M: expected one of the dims that a caller gives: N"),
                (["--dim", "N=5", "--random-inputs"], "5"),
                (["--input", f"x=@{folder}/long.npy"], "5"),
                (["--input", f"x=@{folder}/wide.npy"], "input x: expected float32 [N, 3], found [2, 4]"),
                (["--input", f"x=@{folder}/ints.npy"], "input x: expected float32 [N, 3], found int32 [1, 3]"),
                (["--input", f"x=@{folder}/cut.npy"], "cut.npy: expected a header"),
                (["--input", f"x=@{folder}/none.npy"], "none.npy: cannot be read"),
                (["--input", "z=1,2,3"], "--input z: expected an input of the model: x"),
                (["--input", "x=1,2"], "found 2 numbers"),
                (["--input", "x=[[1, 2], [3]]"], "expected numbers as 1,2,3"),
                (["--input", "x=1,2,cat"], "expected elements of float32, found \"cat\""),
                (["--input", "x=1,2,3", "--dim", "N=2"], "dim N: is 2 by --dim and 1 by input x"),
                (["--input", "x=1,2,3", "--output", "y.npy"], "expected NAME=@FILE.npy"),
                (["--input", "x=1,2,3", "--output", f"y=@{folder}/no/y.npy"], "cannot be written"),
                (["--prompt", "Once"], "is no language model")]:
            _, err = tools.run(tools.kiln, "run", artifact, *flags, good=False)
            expect(expected in err, f"{flags}: expected {expected!r} in {err!r}")


@case("arrays/compile-bounds")
def compile_bounds(tools):
    """--dim fixes a dim or bounds it; a folder with one ONNX file is a model."""
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, onnx.linear(), "--dim", "N=2")
        out, _ = tools.run(tools.kiln, "run", artifact, "--random-inputs", "--json")
        expect_equal(json.loads(out)["dims"], {}, "dims of a model without free ones")
        tools.run(tools.kiln, "compile", folder, "-o", folder / "same.kiln", "--quiet", "--dim", "N=2")
        expect_equal((folder / "same.kiln").read_bytes(), artifact.read_bytes(), "artifact of the folder")
        malformed = "expected NAME=VALUE or NAME=LEAST..MOST"
        for flags, code, expected in [
                (["--dim", "N=3..2"], 2, malformed), (["--dim", "N=x"], 2, malformed), (["--dim", "N"], 2, malformed),
                (["--dim", "N=-1..4"], 2, malformed), (["--dim", "=4"], 2, malformed),
                (["--dim", "N=1", "--dim", "N=2"], 2, "the dim is there twice"),
                (["--dim", "M=1..4"], 1,
                 "net.onnx: --dim M: the model has no dim of that name; it has N (dim 0 of input x)"),
                (["--dim", "N=2", "--dim", "n=1", "--dim", "x_1=3"], 1, "--dim x_1: the model has no dim of that name")]:
            _, err = tools.run(tools.kiln, "compile", folder / "net.onnx", "-o", folder / "bad.kiln", *flags, exit_code=code)
            expect(expected in err, f"{flags}: expected {expected!r} in {err!r}")
        for command in (["run"], ["bench"], ["verify", "--expect", folder]):
            for flag in ("N", "N=x", "N="):
                _, err = tools.run(tools.kiln, *command, artifact, "--dim", flag, exit_code=2)
                expect("expected NAME=NUMBER" in err, f"{command} --dim {flag}: {err!r}")
        (folder / "other.onnx").write_bytes(onnx.linear())
        _, err = tools.run(tools.kiln, "compile", folder, "-o", folder / "bad.kiln", good=False)
        expect("name one of net.onnx, other.onnx" in err, err)
        (folder / "cut.onnx").write_bytes(onnx.linear()[:60])
        _, err = tools.run(tools.kiln, "compile", folder / "cut.onnx", "-o", folder / "bad.kiln", good=False)
        expect("is cut off, malformed" in err, err)
        expect(not (folder / "bad.kiln").exists(), "an artifact of a model that was refused")


@case("arrays/names-of-dims")
def names_of_dims(tools):
    """Bounds are given to dims that the model names or that its data decide; a name of no dim is refused."""
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        # y: where x is not zero, as many places as there are; z: declared to be [K], but as long as x.
        content = onnx.model([onnx.node("NonZero", ["x"], ["y"]), onnx.node("Relu", ["x"], ["z"])],
                             [onnx.value("x", onnx.FLOAT, [None])],
                             [onnx.value("y", onnx.INT64, [1, None]), onnx.value("z", onnx.FLOAT, ["K"])])
        artifact = compile_model(tools, folder, content, "--dim", "x_0=1..8", "--dim", "y_1=0..3", "--dim", "K=1..9")
        out, _ = tools.run(tools.kiln, "run", artifact, "--input", "x=0,5,0,7")
        expect(out.startswith("y: int64 [1, 2] 1 3\n"), out)
        _, err = tools.run(tools.kiln, "run", artifact, "--input", "x=1,5,0,7,9", exit_code=1)
        expect("y_1" in err, err)
        _, err = tools.run(tools.kiln, "compile", folder / "net.onnx", "-o", folder / "bad.kiln", "--dim", "y_0=1..3",
                           "--dim", "length=2", exit_code=1)
        known = "it has x_0 (dim 0 of input x), y_1 (dim 1 of y)"
        for name in ("y_0", "length"):
            expect(f"net.onnx: --dim {name}: the model has no dim of that name; {known}" in err, err)
        (folder / "fixed.onnx").write_bytes(onnx.linear(2))
        _, err = tools.run(tools.kiln, "compile", folder / "fixed.onnx", "-o", folder / "bad.kiln", "--dim", "N=2",
                           exit_code=1)
        expect("--dim N: the model has no dim of that name; all its dims are fixed" in err, err)
        expect(not (folder / "bad.kiln").exists(), "an artifact of a model that was refused")


@case("arrays/plans-of-dims")
def plans_of_dims(tools):
    """The plan follows the dims of a call: scores grow with the square of a length, all else with the length."""
    nodes, x = [], "x"
    for layer in range(3):
        names = {name: f"{name}{layer}" for name in ("q", "k", "v", "t", "s", "d", "p", "a", "o", "y", "u", "g", "z")}
        n = lambda op, inputs, output, **attributes: nodes.append(  # noqa: E731
            onnx.node(op, [names.get(i, i) for i in inputs], [names[output]], **attributes))
        for part in ("q", "k", "v"):
            n("MatMul", [x, "w"], part)
        n("Transpose", ["k"], "t", perm=[0, 2, 1])
        n("MatMul", ["q", "t"], "s")
        n("Mul", ["s", "scale"], "d")
        n("Softmax", ["d"], "p")
        n("MatMul", ["p", "v"], "a")
        n("MatMul", ["a", "w"], "o")
        n("Add", [x, "o"], "y")
        n("MatMul", ["y", "up"], "u")
        n("Relu", ["u"], "g")
        n("MatMul", ["g", "down"], "z")
        x = names["z"]
    width, inner = 16, 80
    content = onnx.model(nodes, [onnx.value("x", onnx.FLOAT, ["B", "S", width])], [onnx.value(x, onnx.FLOAT, ["B", "S", width])],
                         [onnx.tensor(name, onnx.FLOAT, dims, [0.01] * (dims[0] * dims[1]))
                          for name, dims in (("w", [width, width]), ("up", [width, inner]), ("down", [inner, width]))] +
                         [onnx.tensor("scale", onnx.FLOAT, [1], [0.25])])
    with tools.scratch() as work:
        artifact = compile_model(tools, pathlib.Path(work), content, "--dim", "B=1..64", "--dim", "S=1..512")
        out, _ = tools.run(tools.kiln, "inspect", artifact, "--json")
        function, = json.loads(out)["functions"]
        worst = function["worst_plan"]
        print("worst plan:", worst)
        expect(worst["calls"] >= 200 and 1 <= worst["ratio"] <= 1.02, f"worst plan: {worst}")
        shown, _ = tools.run(tools.kiln, "inspect", artifact)
        expect(f"memory of {worst['calls']} calls of other dims: worst ratio {worst['ratio']:.3f} at B = " in shown, shown)
        for batch, length in ((1, 1), (3, 7), (1, 130), (5, 33)):
            tools.run(tools.kiln, "run", artifact, "--random-inputs", "--dim", f"B={batch}", "--dim", f"S={length}")


@case("arrays/wrong-ranks")
def wrong_ranks(tools):
    """Where an operator takes a vector, scalars and matrices are taken for what they mean, or refused."""
    image, vector = [1, 1, 4, 4], [8]
    cases = [("Resize", ["x", "", "", "n"], image, onnx.INT64, []), ("Resize", ["x", "", "", "n"], image, onnx.INT64, [2, 2]),
             ("Resize", ["x", "", "n"], image, onnx.FLOAT, []), ("ReduceSum", ["x", "n"], vector, onnx.INT64, []),
             ("ReduceSum", ["x", "n"], vector, onnx.INT64, [1, 1]), ("Split", ["x", "n"], vector, onnx.INT64, [2, 2]),
             ("Unsqueeze", ["x", "n"], vector, onnx.INT64, []), ("Unsqueeze", ["x", "n"], vector, onnx.INT64, [1, 1]),
             ("Col2Im", ["x", "n", "n"], [1, 4, 4], onnx.INT64, []), ("Reshape", ["x", "n"], vector, onnx.INT64, []),
             ("Expand", ["x", "n"], vector, onnx.INT64, [2, 2]), ("Tile", ["x", "n"], vector, onnx.INT64, []),
             ("Pad", ["x", "n"], vector, onnx.INT64, []), ("Slice", ["x", "n", "n"], vector, onnx.INT64, []),
             ("ConstantOfShape", ["n"], vector, onnx.INT64, []), ("TopK", ["x", "n"], vector, onnx.INT64, [2]),
             ("OneHot", ["n", "n", "x"], vector, onnx.INT64, [2, 2]), ("Range", ["n", "n", "n"], vector, onnx.INT64, [2])]
    rows, heads = [1, 2, 8], {"domain": "com.microsoft", "num_heads": 2}
    for inputs, rank in ((["x", "n", "n"], [2, 8]), (["x", "x", "x", "", "", "n"], [1, 1, 1, 2, 2]),
                         (["x", "x", "x", "n"], [2, 8]), (["x", "x", "x", "", "", "", "n", "n"], [2, 2])):
        cases.append(("MultiHeadAttention", inputs, rows, onnx.FLOAT, rank))
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        for op, inputs, shape, dtype, rank in cases:
            of_microsoft = op == "MultiHeadAttention"
            content = onnx.model([onnx.node(op, inputs, ["y"], **(heads if of_microsoft else {}))],
                                 [onnx.value("x", onnx.FLOAT, shape), onnx.value("n", dtype, rank)],
                                 [onnx.value("y", onnx.FLOAT)], opset=18,
                                 domains=["com.microsoft"] if of_microsoft else [])
            (folder / "net.onnx").write_bytes(content)
            done = subprocess.run([str(tools.kiln), "compile", str(folder / "net.onnx"), "-o", str(folder / "net.kiln"),
                                   "--quiet"], capture_output=True, text=True, timeout=120)
            expect(done.returncode == 0 or (done.returncode == 1 and "net.onnx: " in done.stderr),
                   f"{op} {rank}: exit {done.returncode}: {done.stderr[-500:]}")
        # A node without outputs computes nothing.
        compile_model(tools, folder, onnx.model(
            [onnx.node("Unsqueeze", ["x", "n"], []), onnx.node("Relu", ["x"], ["y"])],
            [onnx.value("x", onnx.FLOAT, vector), onnx.value("n", onnx.INT64, [1])], [onnx.value("y", onnx.FLOAT, vector)]))


@case("arrays/external-data")
def external_data(tools):
    """Weights beside the model, and what leads out of its folder."""
    with tools.scratch() as work:
        folder = pathlib.Path(work, "model").resolve()
        folder.mkdir()
        for path in (folder / "w.bin", folder.parent / "w.bin"):
            path.write_bytes(struct.pack("<3f", 0, 10, 20))
        artifact = compile_model(tools, folder, onnx.beside())
        out, _ = tools.run(tools.kiln, "run", artifact, "--input", "x=1,2", "--quiet")
        expect_equal(out, "y: float32 [2] 11 22\n", "output with weights from another file")
        (folder / "link").symlink_to(folder.parent / "w.bin")
        for location, expected in [("../w.bin", "found \"..\" in it"), (str(folder.parent / "w.bin"), "an absolute one"),
                                   ("link", "leads out of it"), ("none", "cannot be read")]:
            bad = onnx.model([onnx.node("Add", ["x", "w"], ["y"])], [onnx.value("x", onnx.FLOAT, [2])],
                             [onnx.value("y", onnx.FLOAT, [2])], [onnx.external("w", onnx.FLOAT, [2], location)])
            (folder / "bad.onnx").write_bytes(bad)
            _, err = tools.run(tools.kiln, "compile", folder / "bad.onnx", "-o", folder / "bad.kiln", good=False)
            expect("initializer 'w'" in err and expected in err, f"{location}: {err}")


@case("arrays/verify")
def verify(tools):
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, onnx.linear())
        first, second = folder / "data/test_data_set_0", folder / "data/test_data_set_1"
        for path in (first, second):
            path.mkdir(parents=True)
            (path / "input_0.pb").write_bytes(onnx.tensor("x", onnx.FLOAT, [2, 3], X))
        (first / "output_0.pb").write_bytes(onnx.tensor("y", onnx.FLOAT, [2, 2], Y))
        write_npy(second / "output_y.npy", Y, (2, 2))
        out, _ = tools.run(tools.kiln, "verify", artifact, "--expect", folder / "data")
        expect_equal(out.count("y: agrees, 4 elements"), 2, out)
        write_npy(second / "output_y.npy", Y[:3] + [0.25], (2, 2))
        out, _ = tools.run(tools.kiln, "verify", artifact, "--expect", folder / "data", "--atol", "0.3")
        expect_equal(out.count("agrees"), 2, "with a tolerance")
        for extra, needle in [([], "1 elements differ; element 3: expected 0.25, found 0"), (["--json"], '"agrees": false')]:
            failed = subprocess.run([tools.kiln, "verify", artifact, "--expect", second, *extra], capture_output=True,
                                    text=True, timeout=60, check=False)
            expect_equal(failed.returncode, 1, "exit code of a mismatch")
            expect(needle in failed.stdout, failed.stdout)
        _, err = tools.run(tools.kiln, "verify", artifact, "--expect", folder, good=False)
        expect("expected output_0.pb or output_0.npy" in err, err)
        (second / "input_3.pb").write_bytes(b"")
        _, err = tools.run(tools.kiln, "verify", artifact, "--expect", second, good=False)
        expect("the model has no such input" in err, err)


@case("arrays/bench")
def bench(tools):
    with tools.scratch() as work:
        artifact = compile_model(tools, pathlib.Path(work), onnx.linear())
        out, _ = tools.run(tools.kiln, "bench", artifact, "--dim", "N=8", "--repeat", "1", "--threads", "2", "--profile",
                           "--json")
        found = json.loads(out)
        expect_equal((found["dims"], found["threads"], found["rounds"]), ({"N": 8}, 2, 1), "what was measured")
        expect(0 < found["least_milliseconds"] <= found["median_milliseconds"], out)
        expect(found["planned_bytes"] >= found["lower_bound_bytes"], out)
        expect(abs(sum(row["share_of_time"] for row in found["profile"]) - 1) < 1e-6, out)
        out, _ = tools.run(tools.kiln, "bench", artifact, "--dim", "N=8", "--repeat", "1")
        expect(" ms median, " in out, out)


@case("arrays/sums-of-dims")
def sums_of_dims(tools):
    """A size written as a sum of dims follows from them: the caller's arrays are held to it."""
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        net = onnx.model([onnx.node("Concat", ["past", "x"], ["all"], axis=0), onnx.node("Add", ["all", "mask"], ["y"])],
                         [onnx.value("mask", onnx.FLOAT, ["P + N"]), onnx.value("past", onnx.FLOAT, ["P"]),
                          onnx.value("x", onnx.FLOAT, ["N"])], [onnx.value("y", onnx.FLOAT, ["P + N"])])
        artifact = compile_model(tools, folder, net, "--dim", "P=0..8", "--dim", "N=1..4")
        out, _ = tools.run(tools.kiln, "run", artifact, "--input", "past=1,2", "--input", "x=3", "--input", "mask=10,20,30")
        expect_equal(out, "y: float32 [3] 11 22 33\n", "past, x and mask joined")
        _, err = tools.run(tools.kiln, "run", artifact, "--input", "past=1,2", "--input", "x=3", "--input", "mask=10,20",
                           good=False)
        expect("input mask" in err and "found [2]" in err, err)
        _, err = tools.run(tools.kiln, "run", artifact, "--random-inputs", "--dim", "P=9", "--dim", "N=1", good=False)
        expect("P" in err and "9" in err, err)


@case("arrays/size-of-mnist", shared="onnx")
def size_of_mnist(tools):
    """What a program ships to recognize digits: the artifact and the runtime's core, in bytes."""
    artifact = tools.compile(tools.model("onnx") / "mnist.onnx", "--quiet")
    with tools.scratch() as work:
        out, _ = tools.run("sh", ROOT / "runtime/report-size.sh", ROOT / "runtime/include", work,
                           tools.build / "runtime/libkiln_runtime.a")
    core, size = int(out.split()[1]), artifact.stat().st_size
    print(f"artifact {size} + runtime {core} = {size + core} bytes")
    expect(size + core <= 200_000, f"artifact {size} and runtime {core} bytes are more than 200,000")


@case("arrays/sequences")
def sequences(tools):
    """A sequence at the boundary is its tensors; how many an input has is told when compiling."""
    items = onnx.field(1, "x") + onnx.field(2, onnx.field(4, onnx.field(1, onnx.tensor_type(onnx.FLOAT, [2]))))
    parts = onnx.field(1, "parts") + onnx.field(2, onnx.field(4, onnx.field(1, onnx.tensor_type(onnx.FLOAT, None))))
    content = onnx.model(
        [onnx.node("ConcatFromSequence", ["x"], ["all"], axis=0), onnx.node("Neg", ["all"], ["less"]),
         onnx.node("SplitToSequence", ["less", "three"], ["parts"])],
        [items], [parts], [onnx.tensor("three", onnx.INT64, [], [3])])
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        artifact = compile_model(tools, folder, content, "--dim", "x.length=3")
        out, _ = tools.run(tools.kiln, "run", artifact, "--input", "x.0=1,2", "--input", "x.1=3,4", "--input", "x.2=5,6")
        expect_equal(out, "parts.0: float32 [3] -1 -2 -3\nparts.1: float32 [3] -4 -5 -6\n", "what run prints")
        _, error = tools.run(tools.kiln, "compile", folder / "net.onnx", "-o", folder / "net.kiln", good=False)
        expect("expected --dim x.length=N with N from 0 to 1024" in error, error)


@case("arrays/slow-products")
def slow_products(tools):
    """Groups of 12 channels are no whole vectors: a kernel without tiles computes them, and compile says so."""
    content = onnx.model(
        [onnx.node("Conv", ["x", "w"], ["y"], name="narrow", group=4)],
        [onnx.value("x", onnx.FLOAT, [1, 48, 8, 8])], [onnx.value("y", onnx.FLOAT, [1, 48, 6, 6])],
        [onnx.tensor("w", onnx.FLOAT, [48, 12, 3, 3], [0.5] * (48 * 12 * 9))])
    with tools.scratch() as work:
        folder = pathlib.Path(work)
        (folder / "net.onnx").write_bytes(content)
        _, error = tools.run(tools.kiln, "compile", folder / "net.onnx", "-o", folder / "net.kiln", "--target", "x86-64-v3")
        expect("x86-64-v3: no fast kernel takes 1 product, which will be slow: narrow (" in error, error)
