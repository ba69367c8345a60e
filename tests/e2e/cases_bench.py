"""kiln bench: every documented figure is there and makes sense; compiler/tools/kiln/README.md describes the keys."""
import json

from harness import case, expect, expect_equal

FLAGS = ["--json", "--repeat", "1", "--prompt", "96", "--generate", "16", "--threads", "2"]


def bench(tools, artifact, *flags):
    out, _ = tools.run(tools.kiln, "bench", artifact, *FLAGS, *flags)
    return json.loads(out)


def expect_positive(found, *keys):
    for key in keys:
        expect(isinstance(found.get(key), (int, float)) and found[key] > 0, f"{key}: expected a positive number in {found}")


@case("bench/documented-keys")
def keys(tools):
    found = bench(tools, tools.compile("stories", "--quant", "q4"))
    expect_positive(found, "threads", "rounds", "context_length", "weight_bytes_per_token", "bits_per_weight",
                    "open_milliseconds", "read_bandwidth_bytes_per_second", "peak_resident_bytes")
    expect("profile" not in found, "a profile that nobody asked for")
    expect_equal([(row["tokens"], row["depth"]) for row in found["prompt"]], [(96, 0), (64, 0)], "prompts")
    for row in found["prompt"]:
        expect_positive(row, "tokens_per_second", "operations_per_second", "share_of_peak")
    expect_equal([(row["tokens"], row["depth"]) for row in found["decode"]], [(16, 0)], "decodes")
    for row in found["decode"]:
        expect_positive(row, "tokens_per_second", "bytes_per_token", "bytes_per_second", "share_of_read_bandwidth")
    expect_equal([row["tokens"] for row in found["steps"]], [1, 2, 4, 8], "tokens of a step")
    for row in found["steps"]:
        expect_positive(row, "milliseconds", "ratio")
    expect(found["peaks"], "no peak of the multipliers")
    for peak in found["peaks"]:
        expect_positive(peak, "operations_per_second")
    expect_positive(found["memory"], "resident_bytes", "artifact_bytes", "cache_bytes", "workspace_bytes")
    # 4.5 bits per weight in groups of 32, and the output head at 8.5.
    expect(4.4 < found["bits_per_weight"] < 6, f"bits per weight: {found['bits_per_weight']}")


@case("bench/profile-at-depth")
def profile(tools):
    """The profile covers all work of the call: its operations are the prompt's, its bytes the weights'."""
    found = bench(tools, tools.compile("stories", "--quant", "q8"), "--profile", "--depth", "100")
    expect_equal([(row["tokens"], row["depth"]) for row in found["prompt"]], [(96, 0), (64, 0), (96, 100)], "prompts")
    tables = found["profile"]
    expect_equal([(table["what"], table["tokens"], table["depth"]) for table in tables],
                 [("prompt", 96, 0), ("decode", 16, 1), ("prompt", 96, 100), ("decode", 16, 100)], "profiles")
    for table in tables:
        rows = table["kernels"]
        share = sum(row["share_of_time"] for row in rows)
        expect(abs(share - 1) < 1e-6, f"{table['what']}: shares of time add up to {share}")
        for row in rows:
            expect_positive(row, "launches")
            # A launch that another worker finished before the one that measures came to it has no time of its own.
            expect(row["seconds"] >= 0, f"a time below 0: {row}")
            expect(row["kernel"] and row["implementation"], f"a kernel without a name: {row}")
    read = sum(row["bytes"] for row in tables[1]["kernels"])
    weights = 16 * found["weight_bytes_per_token"]
    expect(weights < read < 1.5 * weights, f"16 tokens read {read} bytes, of them {weights} of weights")
    multiplied = sum(row["operations"] for row in tables[0]["kernels"])
    expected = found["prompt"][0]["operations_per_second"] * found["prompt"][0]["seconds"][0]
    expect(abs(multiplied / expected - 1) < 1e-6, f"the profile has {multiplied} operations, the prompt {expected}")
