"""The artifact as a file: the same bytes every time, sections where the format says, code that does not grow with depth."""
import json
import pathlib
import struct

from harness import STORIES, case, copy_model, expect, expect_equal, read_safetensors, write_safetensors

SECTION_ALIGNMENT = 16384
PROGRAM, CODE, WEIGHTS, TOKENIZER = 1, 2, 3, 4


def sections(file):
    """(kind, offset, size) of each section, read as runtime/include/kiln/artifact.h describes it."""
    data = file.read_bytes()
    magic, version, count, total = struct.unpack_from("<8sIIQ", data)
    expect_equal((magic, version, total), (b"KILN\r\n\x1a\n", 1, len(data)), "magic, version and size")
    table = [struct.unpack_from("<IIQQQ", data, 64 + 32 * i) for i in range(count)]
    at = 64 + 32 * count
    for _, _, offset, size, _ in table:
        expect(offset % SECTION_ALIGNMENT == 0 and offset >= at, f"section at {offset}: misplaced")
        expect(not any(data[at:offset]), f"bytes {at}..{offset} between sections are not zero")
        at = offset + size
    return [(kind, offset, size) for kind, _, offset, size, _ in table]


def sizes(file, kind):
    return [size for found, _, size in sections(file) if found == kind]


@case("artifact/two-compiles-give-the-same-bytes")
def deterministic(tools):
    with tools.scratch() as folder:
        for flags in (["--quant", "none"], ["--quant", "q4"], ["--target", "aarch64"]):
            files = [pathlib.Path(folder, name) for name in ("one.kiln", "another.kiln")]
            for file in files:
                tools.run(tools.kiln, "compile", STORIES, "-o", file, *flags)
            expect(files[0].read_bytes() == files[1].read_bytes(), f"two compiles with {flags} differ")


@case("artifact/the-folder-does-not-matter")
def relocatable(tools):
    """The path of the model is not part of the artifact."""
    with tools.scratch() as folder:
        file = pathlib.Path(folder, "x.kiln")
        tools.run(tools.kiln, "compile", copy_model(STORIES, folder), "-o", file)
        expect(file.read_bytes() == tools.compile("stories").read_bytes(), "the model's folder changed the artifact")


@case("artifact/sections")
def layout(tools):
    file = tools.compile("stories")
    for kind in (PROGRAM, CODE, WEIGHTS, TOKENIZER):
        expect_equal(len(sizes(file, kind)), 1, f"sections of kind {kind}")


def deepen(source, folder, layers):
    """A copy of a Llama model whose layers are repeated until there are `layers`."""
    model = copy_model(source, folder)
    config = json.loads((model / "config.json").read_text())
    have = config["num_hidden_layers"]
    config["num_hidden_layers"] = layers
    (model / "config.json").write_text(json.dumps(config))
    header, body = read_safetensors(model / "model.safetensors")
    out, blob = {}, b""
    for name, tensor in header.items():
        copies = [name]
        if name.startswith("model.layers."):
            number, rest = name[len("model.layers."):].split(".", 1)
            copies = [f"model.layers.{i}.{rest}" for i in range(int(number), layers, have)]
        begin, end = tensor["data_offsets"]
        for copy in copies:
            out[copy] = {**tensor, "data_offsets": [len(blob), len(blob) + end - begin]}
            blob += body[begin:end]
    write_safetensors(model / "model.safetensors", out, blob)
    return model


@case("artifact/code-does-not-grow-with-layers")
def depth(tools):
    with tools.scratch() as folder:
        files = [tools.compile("stories", "--quant", "q4"), pathlib.Path(folder, "deep.kiln")]
        tools.run(tools.kiln, "compile", deepen(STORIES, folder, 30), "-o", files[1], "--quant", "q4")
        code = [sizes(file, CODE)[0] for file in files]
        kernels = [inspect(tools, file)["images"][0]["kernels"] for file in files]
        print(f"5 layers: {len(kernels[0])} kernels, {code[0]} bytes; 30 layers: {len(kernels[1])} kernels, {code[1]} bytes")
        expect_equal(kernels[1], kernels[0], "kernels for 30 layers, against 5")
        expect_equal(code[1], code[0], "bytes of code for 30 layers, against 5")
        expect(sizes(files[1], WEIGHTS)[0] > 3 * sizes(files[0], WEIGHTS)[0], "the weights did not grow with the layers")
        tools.run(tools.kiln, "run", files[1], "--max-tokens", 3)


# ---- kiln inspect --------------------------------------------------------------------------------


def inspect(tools, file):
    out, _ = tools.run(tools.kiln, "inspect", file, "--json")
    return json.loads(out)


def check_inspect(tools, file):
    """Five regions per layer, and a plan within a tenth of the largest sum of live buffers, at every size."""
    found = inspect(tools, file)
    expect_equal([(s["offset"], s["bytes"]) for s in found["sections"]], [part[1:] for part in sections(file)], "sections")
    function, = found["functions"]
    expect_equal(function["schedule"]["regions_per_layer"], 5, "regions per layer")
    bounds = function["dims"][0]
    for row, size in zip(function["memory"], (bounds["min"], bounds["max"]), strict=True):
        planned, bound = row["planned_bytes"], row["lower_bound_bytes"]
        print(f"{bounds['name']} = {size}: planned {planned} bytes, lower bound {bound}")
        expect_equal(row[bounds["name"]], size, "size that the memory is planned for")
        expect(0 < bound <= planned <= 1.10 * bound, f"planned {planned} bytes, lower bound {bound}")
    small, large = (row["planned_bytes"] for row in function["memory"])
    expect(small * bounds["max"] <= 4 * large * bounds["min"], f"memory does not follow the call: {small}, {large} bytes")
    table, _ = tools.run(tools.kiln, "inspect", file)
    for kernel in found["images"][0]["kernels"]:
        expect(kernel["kernel"] in table and kernel["implementation"], f"no implementation shown for {kernel}")


@case("artifact/inspect-stories")
def inspect_stories(tools):
    for quant in ("none", "q8", "q4"):
        check_inspect(tools, tools.compile("stories", "--quant", quant))


@case("artifact/inspect-stories260K", shared="stories260K")
def inspect_stories260k(tools):
    check_inspect(tools, tools.compile("stories260K", "--quant", "none"))


@case("artifact/inspect-capp-gpt", shared="capp-gpt")
def inspect_gpt2(tools):
    check_inspect(tools, tools.compile("capp-gpt", "--quant", "none"))
