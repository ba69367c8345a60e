"""Embeddings of a tiny random BERT in the layout of sentence-transformers, against the model written out in plain
Python here, for each pooling; batches, long texts, formats of the output, and what is refused."""
import json
import math
import pathlib
import random
import struct

from harness import ROOT, case, expect, expect_equal, read_npy, write_safetensors

TOKENIZER = ROOT / "tests/tokenizer/golden/bert/tokenizer.json"
HIDDEN, HEADS, LAYERS, MLP, POSITIONS, LIMIT = 32, 4, 2, 48, 40, 24
VOCABULARY = len(json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]["vocab"])
TEXTS = ["a", "", "the cat sat", "1, 2: 3; 4?", "The cat sat on the mat and the dog sat on the cat.", "cat " * 40,
         "été über naïve"]


def make_weights():
    """name: (shape, values) of a file as transformers writes it."""
    numbers = random.Random(5)
    weights = {}

    def add(name, *shape, centre=0.0, spread=0.5):
        count = math.prod(shape)
        values = [struct.unpack("<f", struct.pack("<f", centre + spread * numbers.uniform(-1, 1)))[0] for _ in range(count)]
        weights[name] = (shape, values)

    def linear(name, outputs, inputs):
        add(name + ".weight", outputs, inputs, spread=2 / math.sqrt(inputs))
        add(name + ".bias", outputs)

    def norm(name):
        add(name + ".weight", HIDDEN, centre=1.0)
        add(name + ".bias", HIDDEN)
    for table, rows in (("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)):
        add(f"embeddings.{table}_embeddings.weight", rows, HIDDEN, spread=1.0)
    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{i}." for i in range(LAYERS)):
        for part in ("query", "key", "value"):
            linear(f"{layer}attention.self.{part}", HIDDEN, HIDDEN)
        linear(layer + "attention.output.dense", HIDDEN, HIDDEN)
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", MLP, HIDDEN)
        linear(layer + "output.dense", HIDDEN, MLP)
        norm(layer + "output.LayerNorm")
    linear("pooler.dense", HIDDEN, HIDDEN)
    return weights


def write_model(folder, weights, pooling="mean", normalize=True):
    header, body = {}, b""
    for name, (shape, values) in weights.items():
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", header, body)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * normalize
    key = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}[pooling]
    (folder / "1_Pooling").mkdir()
    for file, content in {
            "config.json": dict(model_type="bert", hidden_size=HIDDEN, num_hidden_layers=LAYERS, vocab_size=VOCABULARY,
                                num_attention_heads=HEADS, intermediate_size=MLP, max_position_embeddings=POSITIONS,
                                type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu"),
            "modules.json": [dict(idx=i, path=path, type=f"sentence_transformers.models.{name}")
                             for i, (path, name) in enumerate(modules)],
            "sentence_bert_config.json": dict(max_seq_length=LIMIT),
            "1_Pooling/config.json": {"word_embedding_dimension": HIDDEN, f"pooling_mode_{key}": True}}.items():
        (folder / file).write_text(json.dumps(content))
    (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())


class Reference:
    """BERT in f64, one text at a time."""

    def __init__(self, weights):
        self.weights = weights

    def linear(self, name, rows):
        (outputs, inputs), matrix = self.weights[name + ".weight"]
        bias = self.weights[name + ".bias"][1]
        return [[bias[o] + sum(map(float.__mul__, row, matrix[o * inputs:(o + 1) * inputs])) for o in range(outputs)]
                for row in rows]

    def norm(self, name, rows):
        weight, bias = self.weights[name + ".weight"][1], self.weights[name + ".bias"][1]
        result = []
        for row in rows:
            mean = sum(row) / HIDDEN
            scale = 1 / math.sqrt(sum((x - mean)**2 for x in row) / HIDDEN + 1e-12)
            result.append([(x - mean) * scale * w + b for x, w, b in zip(row, weight, bias)])
        return result

    def row(self, table, index):
        return self.weights[f"embeddings.{table}_embeddings.weight"][1][index * HIDDEN:(index + 1) * HIDDEN]

    def attend(self, layer, x):
        q, k, v = (self.linear(f"{layer}attention.self.{part}", x) for part in ("query", "key", "value"))
        size = HIDDEN // HEADS
        result = [[] for _ in x]
        for columns in (slice(h * size, (h + 1) * size) for h in range(HEADS)):
            for i, row in enumerate(q):
                scores = [math.exp(sum(a * b for a, b in zip(row[columns], key[columns])) / math.sqrt(size)) for key in k]
                total = sum(scores)
                result[i] += [sum(s * value[d] for s, value in zip(scores, v)) / total
                              for d in range(columns.start, columns.stop)]
        return result

    def states(self, ids):
        x = [[a + b + c for a, b, c in zip(self.row("word", token), self.row("position", i), self.row("token_type", 0))]
             for i, token in enumerate(ids)]
        x = self.norm("embeddings.LayerNorm", x)

        def add(left, right):
            return [[a + b for a, b in zip(*rows)] for rows in zip(left, right)]
        for layer in (f"encoder.layer.{i}." for i in range(LAYERS)):
            x = self.norm(layer + "attention.output.LayerNorm",
                          add(x, self.linear(layer + "attention.output.dense", self.attend(layer, x))))
            hidden = [[h / 2 * (1 + math.erf(h / math.sqrt(2))) for h in row]
                      for row in self.linear(layer + "intermediate.dense", x)]
            x = self.norm(layer + "output.LayerNorm", add(x, self.linear(layer + "output.dense", hidden)))
        return x


def pool(states, pooling, normalize):
    columns = list(zip(*states))
    row = {"mean": [sum(c) / len(c) for c in columns], "cls": states[0], "max": [max(c) for c in columns]}[pooling]
    length = math.sqrt(sum(x * x for x in row)) if normalize else 1
    return [x / length for x in row]


def ids_of(tools, artifact, text):
    """As sentence-transformers cuts: the first tokens, then the end token."""
    out, _ = tools.run(tools.kiln, "tokenize", artifact, "--ids", "--", text)
    ids = [int(word) for word in out.split()]
    return ids if len(ids) <= LIMIT else ids[:LIMIT - 1] + ids[-1:]


def embed(tools, folder, artifact, texts, *flags):
    file = folder / "embeddings.npy"
    (folder / "texts.txt").write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    tools.run(tools.kiln, "embed", artifact, "--file", folder / "texts.txt", "-o", file, *flags)
    return read_npy(file)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def largest(found, expected):
    return max(abs(x - y) for a, b in zip(found, expected) for x, y in zip(a, b))


def in_model(name, **layout):
    """A case that gets a folder of its own, the weights and the model's folder."""
    def register(function):
        @case(name)
        def run(tools):
            with tools.scratch() as scratch:
                weights, folder = make_weights(), pathlib.Path(scratch)
                write_model(folder / "model", weights, **layout)
                function(tools, folder, weights, folder / "model")
        return run
    return register


def compile_to(tools, folder, model, *flags):
    artifact = folder / "model.kiln"
    tools.run(tools.kiln, "compile", model, "-o", artifact, "--quiet", *flags)
    return artifact


def compare(pooling, normalize):
    @in_model(f"embed/{pooling}{'-normalized' if normalize else ''}", pooling=pooling, normalize=normalize)
    def embeddings(tools, folder, weights, model):
        artifact = compile_to(tools, folder, model, "--quant", "none")
        found = embed(tools, folder, artifact, TEXTS)
        reference = Reference(weights)
        expected = [pool(reference.states(ids_of(tools, artifact, text)), pooling, normalize) for text in TEXTS]
        expect_equal((len(found), len(found[0])), (len(TEXTS), HIDDEN), "texts and dimensions")
        error = largest(found, expected)
        print(f"largest difference {error:.1e}")
        expect(error < 2e-5, f"embeddings differ from the reference by {error}")


compare("mean", True)
compare("cls", False)
compare("max", True)


@in_model("embed/quantized")
def quantized(tools, folder, weights, model):
    reference = Reference(weights)
    for quant, least in (("q8", 0.999), ("q4", 0.95)):
        artifact = compile_to(tools, folder, model, "--quant", quant)
        for text, found in zip(TEXTS, embed(tools, folder, artifact, TEXTS)):
            same = cosine(found, pool(reference.states(ids_of(tools, artifact, text)), "mean", True))
            expect(same > least, f"{quant}: {text!r}: cosine {same}")


@in_model("embed/levels")
def levels(tools, folder, weights, model):
    """Every kernel list, and the reference lowering alone, give the same."""
    fast = embed(tools, folder, compile_to(tools, folder, model, "--quant", "none"), TEXTS)
    for flags in (["--target", "x86-64-v3"], ["--only-kernel", "reference"]):
        found = embed(tools, folder, compile_to(tools, folder, model, "--quant", "none", *flags), TEXTS)
        expect(largest(found, fast) < 2e-5, f"{flags}: differs by {largest(found, fast)}")


@in_model("embed/batch")
def batch(tools, folder, weights, model):
    """A text's embedding does not depend on the others, in calls that are filled to the brim."""
    artifact = compile_to(tools, folder, model, "--quant", "none", "--max-tokens", "48")
    many = [text for text in TEXTS for _ in range(40)]
    together = embed(tools, folder, artifact, many, "--threads", "2")
    for i, text in enumerate(TEXTS):
        alone = embed(tools, folder, artifact, [text], "--threads", "1")
        for row in together[40 * i:40 * (i + 1)]:
            expect(largest([row], alone) < 2e-6, f"{text!r} alone and among others: {largest([row], alone)}")


@in_model("embed/outputs")
def outputs(tools, folder, weights, model):
    artifact = compile_to(tools, folder, model, "--quant", "none")
    expected = embed(tools, folder, artifact, TEXTS[:3])
    out, err = tools.run(tools.kiln, "embed", artifact, *TEXTS[:3])
    lines = [[float(word) for word in line.split()] for line in out.splitlines()]
    expect(largest(lines, expected) < 1e-6, "text on stdout differs from the .npy file")
    expect("3 texts, 32 dimensions" in err, f"report: {err}")
    out, err = tools.run(tools.kiln, "embed", artifact, "--json", "--quiet", *TEXTS[:3])
    rows = [json.loads(line) for line in out.splitlines()]
    expect_equal([row["text"] for row in rows], TEXTS[:3], "texts of the JSON lines")
    expect(largest([row["embedding"] for row in rows], expected) < 1e-6, "JSON differs from the .npy file")
    expect_equal(err, "", "stderr with --quiet")
    _, err = tools.run(tools.kiln, "embed", artifact, "cat " * 40)
    expect("1 texts were cut to the model's 24 tokens" in err, f"report of a long text: {err}")
    ids = " ".join(map(str, ids_of(tools, artifact, TEXTS[2])))
    out, _ = tools.run(tools.kiln, "embed", artifact, "--ids", ids)
    expect(largest([[float(word) for word in out.split()]], expected[2:]) < 1e-6, "ids differ from their text")


@in_model("embed/refusals")
def refusals(tools, folder, weights, model):
    artifact = compile_to(tools, folder, model)
    for arguments, text in ((["--ids", "1 2 x"], "found 'x'"), (["--ids", "1 99999"], "token 1: expected an id below"),
                            (["--ids", ""], "tokens of a text: expected 1 to 24, found 0"),
                            (["--ids", "1 " * 25], "expected 1 to 24, found 25"),
                            (["--file", folder / "absent"], "absent: cannot be read"),
                            (["a", "-o", folder / "no/such/folder.npy"], "cannot be written")):
        _, err = tools.run(tools.kiln, "embed", artifact, *arguments, good=False)
        expect(text in err, f"{arguments}: expected {text!r} in {err!r}")
    _, err = tools.run(tools.kiln, "run", artifact, good=False)
    expect("not a language model" in err, err)
    stories = tools.compile("stories")
    _, err = tools.run(tools.kiln, "embed", stories, "a", good=False)
    expect("not an encoder" in err, err)
