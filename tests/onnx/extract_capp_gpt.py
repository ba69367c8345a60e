#!/usr/bin/env python3
"""One trained decoder on two ways: its ONNX file, and its weights as a Hugging Face folder.

    extract_capp_gpt.py [--kiln build/release/bin/kiln] [--model ../shared/models/capp-gpt] [--keep FOLDER]

Writes the initializers of model.onnx and the model's config.json as a Hugging Face folder, compiles
both, and compares the logits of prompts with each other and with ONNX Runtime's: the largest
difference over the largest logit must stay within 1e-4. Needs the PyPI packages numpy, onnx and
onnxruntime; without them, or without the model, it says so and exits with 77.
"""
import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as problem:
    print(f"SKIP: {problem}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 1e-4
PROMPTS = ([0, 7, 14, 16, 20, 24, 49], [5], list(range(50)), [3, 1, 4, 1, 5, 9, 2, 6] * 16)


def write_safetensors(path, tensors):
    """float32 arrays by name. The format: a length, a JSON header of that length, the bytes."""
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in tensors.values()))


def expected_shapes(config):
    """What a GPT-2 of this config has; its matrices are [inputs, outputs] in both formats."""
    n, inner = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]
    shapes = {"wte.weight": (config["vocab_size"], n), "wpe.weight": (config["n_positions"], n),
              "ln_f.weight": (n,), "ln_f.bias": (n,)}
    for layer in range(config["n_layer"]):
        for part, shape in {"ln_1.weight": (n,), "ln_1.bias": (n,), "ln_2.weight": (n,), "ln_2.bias": (n,),
                            "attn.c_attn.weight": (n, 3 * n), "attn.c_attn.bias": (3 * n,),
                            "attn.c_proj.weight": (n, n), "attn.c_proj.bias": (n,),
                            "mlp.c_fc.weight": (n, inner), "mlp.c_fc.bias": (inner,),
                            "mlp.c_proj.weight": (inner, n), "mlp.c_proj.bias": (n,)}.items():
            shapes[f"h.{layer}.{part}"] = shape
    return {f"transformer.{name}": shape for name, shape in shapes.items()}


def extract(source, folder):
    """The weights of source/model.onnx beside source/config.json. An output head that is the
    embedding transposed is tied, as the config says."""
    config = json.loads((source / "config.json").read_text())
    model = onnx.load(source / "model.onnx")
    found = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    tensors = {}
    for name, shape in expected_shapes(config).items():
        if name not in found or found[name].shape != shape or found[name].dtype != np.float32:
            raise SystemExit(f"{name}: expected float32 {shape}, found "
                             f"{found[name].dtype.name + ' ' + str(found[name].shape) if name in found else 'none'}")
        tensors[name] = np.ascontiguousarray(found[name])
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    shutil.copyfile(source / "config.json", folder / "config.json")
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", default=ROOT / "build" / "release" / "bin" / "kiln")
    parser.add_argument("--model", default=ROOT.parent / "shared" / "models" / "capp-gpt", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, help="write the Hugging Face folder there")
    args = parser.parse_args()
    if not (args.model / "model.onnx").exists():
        print(f"SKIP: {args.model / 'model.onnx'} is absent")
        return 77

    def kiln(*arguments):
        subprocess.run([str(a) for a in (args.kiln, *arguments)], check=True, stdout=subprocess.DEVNULL)

    session = onnxruntime.InferenceSession(str(args.model / "model.onnx"), providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        folder = args.keep or work / "capp-gpt"
        config = extract(args.model, folder)
        heads, width = config["n_head"], config["n_embd"] // config["n_head"]
        kiln("compile", folder, "-o", work / "folder.kiln", "--quant", "none", "--kv-cache", "f32", "--quiet")
        kiln("compile", args.model / "model.onnx", "-o", work / "onnx.kiln", "--quiet", "--dim", "batch_size=1",
             "--dim", "past_sequence_length=0..256", "--dim", "sequence_length=1..256")
        worst = 0.0
        for prompt in PROMPTS:
            feeds = {i.name: np.zeros((1, heads, 0, width), np.float32) for i in session.get_inputs()
                     if i.name.startswith("past")}
            feeds |= {"input_ids": np.array([prompt]), "attention_mask": np.ones((1, len(prompt)), np.int64),
                      "position_ids": np.arange(len(prompt))[None]}
            logits = {"ONNX Runtime": dict(zip(outputs, session.run(None, feeds)))["logits"][0]}
            flags = []
            for i, (name, array) in enumerate(feeds.items()):
                np.save(work / f"{i}.npy", array)
                flags += ["--input", f"{name}=@{work}/{i}.npy"]
            kiln("run", work / "onnx.kiln", "--quiet", *flags, "--output", f"logits=@{work}/onnx.npy")
            logits["model.onnx"] = np.load(work / "onnx.npy")[0]
            kiln("run", work / "folder.kiln", "--quiet", "--prompt-ids", ",".join(map(str, prompt)), "--max-tokens", 0,
                 "--logits", work / "folder.npy")
            logits["folder"] = np.load(work / "folder.npy")
            line = f"{len(prompt):>4} tokens"
            for x, y in (("folder", "model.onnx"), ("folder", "ONNX Runtime"), ("model.onnx", "ONNX Runtime")):
                if logits[x].shape != logits[y].shape:
                    raise SystemExit(f"logits of {x} are {logits[x].shape}, of {y} {logits[y].shape}")
                error = abs(logits[x] - logits[y]).max() / abs(logits[y]).max()
                worst = max(worst, error)
                line += f"   {x} and {y} {error:.1e}"
            print(line)
    print(f"largest relative difference {worst:.1e}, limit {LIMIT:.0e}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
