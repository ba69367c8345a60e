"""Bad input: a clear message that names the thing, a failing status, nothing half-written, no crash."""
import json
import pathlib
import random
import resource
import signal

from cases_text import require_aarch64
from harness import STORIES, case, copy_model, expect, read_safetensors, write_safetensors

TENSOR = "model.layers.3.mlp.down_proj.weight"
OTHER = "model.layers.1.self_attn.q_proj.weight"


def refused(tools, model, names, *flags, **options):
    """Compiling fails, the message holds every name, and no file is left behind."""
    with tools.scratch() as folder:
        output = pathlib.Path(folder, "out.kiln")
        _, err = tools.run(tools.kiln, "compile", model, "-o", output, *flags, good=False, **options)
        print(err.strip()[:1000])
        for name in names:
            expect(str(name) in err, f"expected {str(name)!r} in the message:\n{err}")
        expect(not list(pathlib.Path(folder).iterdir()), "a failed compile left a file behind")


def bad_model(name, names):
    """A case: the function spoils a copy of the example model; compiling it must name `names`."""
    def register(spoil):
        @case(f"errors/{name}")
        def check(tools):
            with tools.scratch() as folder:
                model = copy_model(STORIES, folder)
                spoil(model)
                refused(tools, model, names)
        return check
    return register


def edit_config(model, **changes):
    file = model / "config.json"
    config = json.loads(file.read_text())
    for key, value in changes.items():
        config[key] = value
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def edit_header(model, edit, length=None):
    file = model / "model.safetensors"
    header, body = read_safetensors(file)
    edit(header)
    write_safetensors(file, header, body, length)


@bad_model("unknown-family", ["frobnicate"])
def unknown_family(model):
    edit_config(model, model_type="frobnicate", architectures=["FrobnicateForCausalLM"])


@bad_model("missing-config-key", ["hidden_size"])
def missing_key(model):
    edit_config(model, hidden_size=None)


@bad_model("config-disagrees-with-weights", ["model.layers.0.mlp.gate_proj.weight", "352", "384"])
def wrong_width(model):
    edit_config(model, intermediate_size=384)


@bad_model("huge-config-number", ["num_hidden_layers"])
def many_layers(model):
    edit_config(model, num_hidden_layers=1 << 62)


@bad_model("deep-json", ["config.json"])
def deep_json(model):
    (model / "config.json").write_text("[" * 1_000_000)


@bad_model("no-weights", ["safetensors"])
def no_weights(model):
    (model / "model.safetensors").unlink()


@bad_model("truncated-weights", ["model.safetensors"])
def truncated_weights(model):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


@bad_model("header-of-2-to-the-63-bytes", ["model.safetensors"])
def huge_header(model):
    edit_header(model, lambda header: None, length=1 << 63)


@bad_model("overlapping-ranges", ["model.safetensors", TENSOR])
def overlapping(model):
    def edit(header):
        begin, end = header[OTHER]["data_offsets"]
        size = header[TENSOR]["data_offsets"][1] - header[TENSOR]["data_offsets"][0]
        header[TENSOR]["data_offsets"] = [begin, begin + size]
    edit_header(model, edit)


@bad_model("overflowing-range", ["model.safetensors", TENSOR])
def overflowing(model):
    def edit(header):
        header[TENSOR]["data_offsets"] = [(1 << 64) - 8, (1 << 64) - 1]
    edit_header(model, edit)


@bad_model("overflowing-shape", ["model.safetensors", TENSOR])
def overflowing_shape(model):
    def edit(header):
        header[TENSOR]["shape"] = [1 << 62, 1 << 62]
    edit_header(model, edit)


@bad_model("misaligned-range", ["model.safetensors", TENSOR])
def misaligned(model):
    def edit(header):
        begin, end = header[TENSOR]["data_offsets"]
        header[TENSOR]["data_offsets"] = [begin + 1, end + 1]
    edit_header(model, edit)


@bad_model("wrong-shape", [TENSOR, "[352, 128]", "[128, 352]"])
def wrong_shape(model):
    def edit(header):
        header[TENSOR]["shape"] = [352, 128]
    edit_header(model, edit)


@bad_model("unknown-dtype", [TENSOR, "F13"])
def unknown_dtype(model):
    def edit(header):
        header[TENSOR]["dtype"] = "F13"
    edit_header(model, edit)


@bad_model("all-problems-in-one-report", [TENSOR, OTHER, "model.layers.9.surprise.weight"])
def several(model):
    def edit(header):
        header["model.layers.9.surprise.weight"] = header.pop(TENSOR)
        header[OTHER]["shape"] = list(reversed(header[OTHER]["shape"])) + [1]
    edit_header(model, edit)


@bad_model("missing-shard", ["model-00002-of-00002.safetensors"])
def missing_shard(model):
    header, _ = read_safetensors(model / "model.safetensors")
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    weights = {name: "model-00001-of-00002.safetensors" for name in header}
    weights[TENSOR] = "model-00002-of-00002.safetensors"
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))


@bad_model("shard-outside-the-folder", ["../elsewhere.safetensors"])
def escaping_shard(model):
    header, _ = read_safetensors(model / "model.safetensors")
    (model / "model.safetensors").rename(model.parent / "elsewhere.safetensors")
    weights = {name: "../elsewhere.safetensors" for name in header}
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))


@bad_model("broken-tokenizer", ["tokenizer.json"])
def broken_tokenizer(model):
    (model / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": [], "merges": 3}}')


@case("errors/no-such-folder")
def no_such_folder(tools):
    refused(tools, "no/such/model", ["no/such/model"])


@case("errors/unknown-target-and-option")
def unknown_words(tools):
    refused(tools, STORIES, ["pdp-11"], "--target", "pdp-11")
    refused(tools, STORIES, ["q3.14"], "--quant", "q3.14")
    refused(tools, STORIES, ["--frobnicate"], "--frobnicate")


@case("errors/disk-full")
def disk_full(tools):
    """A limit on file size stands in for a full disk: writing fails halfway."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    refused(tools, STORIES, ["out.kiln"], preexec_fn=limit)


@case("errors/output-folder-is-absent")
def absent_output(tools):
    with tools.scratch() as folder:
        output = pathlib.Path(folder, "no/such/folder/out.kiln")
        _, err = tools.run(tools.kiln, "compile", STORIES, "-o", output, good=False)
        expect("out.kiln" in err, f"expected the output's name in the message:\n{err}")


@case("errors/prompt-longer-than-the-context")
def long_prompt(tools):
    artifact = tools.compile("stories")
    _, err = tools.run(tools.kiln, "run", artifact, "--prompt-ids", ",".join(["5"] * 600), good=False)
    expect("600" in err and "512" in err, f"expected the prompt's 600 tokens and the context's 512 in the message:\n{err}")


@case("errors/token-outside-the-vocabulary")
def bad_token(tools):
    artifact = tools.compile("stories")
    for ids in ("1024", "-1", "5,99999999999", "5,x"):
        tools.run(tools.kiln, "run", artifact, f"--prompt-ids={ids}", good=False)


@case("errors/not-an-artifact")
def not_an_artifact(tools):
    with tools.scratch() as folder:
        file = pathlib.Path(folder, "x.kiln")
        for content in (b"", b"KILN", b"\0" * 100_000, b"MZ" * 50_000):
            file.write_bytes(content)
            for command in ("run", "inspect"):
                _, err = tools.run(tools.kiln, command, file, good=False)
                expect("x.kiln" in err, f"expected the file's name in the message:\n{err}")
        tools.run(tools.kiln, "run", pathlib.Path(folder, "absent.kiln"), good=False)
        tools.run(tools.kiln, "run", folder, good=False)


@case("errors/truncated-artifact")
def truncated_artifact(tools):
    """Some sixty prefixes through the CLI; tests/runtime tries every one in its own process."""
    data = tools.compile("stories").read_bytes()
    numbers = random.Random(1)
    sizes = {0, 1, 7, 8, 63, 64, 65, 96, 128, 16383, 16384, 16385, len(data) - 1, len(data) // 2}
    sizes |= {numbers.randrange(len(data)) for _ in range(50)}
    with tools.scratch() as folder:
        file = pathlib.Path(folder, "x.kiln")
        for size in sorted(sizes):
            file.write_bytes(data[:size])
            tools.run(tools.kiln, "run", file, "--max-tokens", 1, good=False)


@case("errors/flipped-artifact")
def flipped_artifact(tools):
    """Flips outside the weights are refused; flipped weights may run, but never crash."""
    data = tools.compile("stories").read_bytes()
    numbers = random.Random(2)
    with tools.scratch() as folder:
        file = pathlib.Path(folder, "x.kiln")
        for at in [*range(0, 64, 3), *(numbers.randrange(len(data)) for _ in range(150))]:
            spoiled = bytearray(data)
            spoiled[at] ^= 1 << numbers.randrange(8)
            file.write_bytes(spoiled)
            if at < 64:
                tools.run(tools.kiln, "run", file, "--max-tokens", 2, good=False)
            else:
                tools.survive(tools.kiln, "run", file, "--max-tokens", 2)


@case("errors/unsupported-device")
def unsupported_device(tools):
    _, err = tools.run(tools.kiln, "run", tools.compile("stories", "--target", "aarch64"), good=False)
    expect("aarch64" in err, f"expected the artifact's target in the message:\n{err}")


@case("errors/unsupported-device-on-aarch64")
def unsupported_device_aarch64(tools):
    require_aarch64(tools)
    artifact = tools.compile("stories", "--target", "x86-64-v3")
    _, err = tools.run(tools.qemu, tools.runner_aarch64, artifact, good=False)
    expect("x86-64-v3" in err, f"expected the artifact's target in the message:\n{err}")


@case("errors/dims-of-a-decoder")
def dims_of_a_decoder(tools):
    """Dims of decoders have their own options; --dim is refused for them, well formed or not."""
    refused(tools, STORIES, ["--dim is for ONNX models", "model"], "--dim", "tokens=1..4")
    with tools.scratch() as work:
        _, err = tools.run(tools.kiln, "compile", STORIES, "-o", f"{work}/m.kiln", "--dim", "tokens", exit_code=2)
        expect("expected NAME=VALUE or NAME=LEAST..MOST" in err, err)
