"""The results of compare_llama_cpp.py as tables for people."""
import statistics

MEGA, GIGA = 1e6, 1e9


def median(values):
    return statistics.median(values) if values else 0.0


def pick(rows, **wanted):
    """The row of a list in `kiln bench --json` that has these values."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


class Column:
    """One program's values of a measure, one per round."""

    def __init__(self, values):
        self.values = list(values)

    def __str__(self):
        return number(median(self.values)) if self.values else "-"


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(ours, theirs, smaller_is_better=False):
    """The ratio of medians; of rounds the least and the greatest in brackets. Always: greater is better for Kiln."""
    if not ours.values or not theirs.values:
        return "-"
    a, b = (theirs, ours) if smaller_is_better else (ours, theirs)
    pairs = [x / y for x, y in zip(a.values, b.values)]
    text = f"{median(a.values) / median(b.values):.2f}×"
    return f"{text} ({min(pairs):.2f}–{max(pairs):.2f})" if len(pairs) > 1 else text


def kiln_rates(runs, kind, **wanted):
    rows = [pick(run[kind], **wanted) for run in runs]
    return Column(row["tokens_per_second"] for row in rows if row)


def share(runs, kind, key, rate, unit, **wanted):
    rows = [row for row in (pick(run[kind], **wanted) for run in runs) if row]
    if not rows:
        return "-"
    return f"{median([row[rate] for row in rows]) / GIGA:.1f} {unit}, {100 * median([row[key] for row in rows]):.0f} %"


def llama_rates(entry, test):
    return Column(rates[test] for rates in entry["llama"] if test in rates)


def rows_of(entry):
    """(measure, Kiln, llama.cpp, ratio, Kiln's share of its bound)."""
    kiln, depth = entry["kiln"], entry["depth"]

    def prompt(tokens, at, runs):
        return share(runs, "prompt", "share_of_peak", "operations_per_second", "Gop/s", tokens=tokens, depth=at)

    def decode(at, runs):
        return share(runs, "decode", "share_of_read_bandwidth", "bytes_per_second", "GB/s", tokens=128, depth=at)

    for tokens in (512, 64):
        ours, theirs = kiln_rates(kiln, "prompt", tokens=tokens, depth=0), llama_rates(entry, f"pp{tokens}")
        yield f"prompt of {tokens}, tokens/s", ours, theirs, ratio(ours, theirs), prompt(tokens, 0, kiln)
    ours, theirs = kiln_rates(kiln, "decode", tokens=128, depth=0), llama_rates(entry, "tg128")
    yield "decode 128, tokens/s", ours, theirs, ratio(ours, theirs), decode(0, kiln)
    if depth:
        caches = [("plain", "f16 cache", kiln), ("flash", "f16 cache, flash attention", kiln),
                  ("flash, q8 cache", "q8 cache, flash attention", entry["kiln_q8_cache"])]
        for name, text, runs in caches:
            ours = kiln_rates(runs, "prompt", tokens=512, depth=depth)
            theirs = llama_rates(entry, f"pp512 d{depth}, {name}")
            yield f"prompt of 512 at {depth}, {text}", ours, theirs, ratio(ours, theirs), prompt(512, depth, runs)
        for name, text, runs in caches:
            ours = kiln_rates(runs, "decode", tokens=128, depth=depth)
            theirs = llama_rates(entry, f"tg128 d{depth}, {name}")
            yield f"decode 128 at {depth}, {text}", ours, theirs, ratio(ours, theirs), decode(depth, runs)
    for tokens in (2, 4, 8):
        steps = [pick(run["steps"], tokens=tokens) for run in kiln]
        ours = Column(step["milliseconds"] for step in steps if step)
        theirs = Column(1e3 * tokens / rate for rate in llama_rates(entry, f"pp{tokens}").values)
        part = f"{median([step['ratio'] for step in steps if step]):.3f} of {tokens} steps of 1"
        yield f"step of {tokens} tokens, ms", ours, theirs, ratio(ours, theirs, True), part
    for key, text, scale in (("first_token_seconds", "program start to first token, ms (Kiln: the runtime alone)", 1e3),
                             ("peak_resident_bytes", "peak memory of the program, MB (the same)", 1 / MEGA)):
        ours, theirs = (Column(row[f"{who}_{key}"] * scale for row in entry["starts"]) for who in ("kiln", "llama"))
        yield text, ours, theirs, ratio(ours, theirs, True), ""


def bits(size, parameters):
    return f"{8 * size / parameters:.2f}"


def own_figures(entry):
    """What only Kiln says of itself."""
    runs, report = entry["kiln"], entry["compile"]
    memory = [run["memory"] for run in runs]
    return [f"open to ready {median([run['open_milliseconds'] for run in runs]):.2f} ms",
            f"resident {median([m['resident_bytes'] for m in memory]) / MEGA:.1f} MB, of it beyond mapped weights, KV "
            f"pages and workspace {median([m['beyond_bytes'] for m in memory]) / MEGA:.1f} MB",
            f"compiled in {report['seconds']:.1f} s with at most {report['peak_resident_bytes'] / MEGA:.0f} MB",
            f"read bandwidth {median([run['read_bandwidth_bytes_per_second'] for run in runs]) / GIGA:.1f} GB/s",
            f"peak ({runs[0]['peaks'][0]['instruction']}) "
            f"{median([run['peaks'][0]['operations_per_second'] for run in runs]) / GIGA:.0f} Gop/s"]


def entry_as_markdown(entry):
    theirs, logits, target = entry["llama_model"], entry["logits"], entry["kiln"][0]["target"]
    yield f"## {entry['title']}"
    yield ""
    yield (f"{entry['compile']['parameters'] / MEGA:.1f} M parameters (llama.cpp: {theirs['parameters'] / MEGA:.1f} M). Bits "
           f"per weight of the file: Kiln {bits(entry['compile']['bytes'], entry['compile']['parameters'])} ({target}), "
           f"llama.cpp {bits(theirs['bytes'], theirs['parameters'])}. Logits of 32 tokens, relative distance: Kiln to "
           f"llama.cpp {logits['kiln_to_llama_plain']:.4f}; llama.cpp as measured to its plain kernels "
           f"{logits['llama_repacked_to_plain']:.4f}.")
    yield ""
    yield "| measure | Kiln | llama.cpp | ratio (rounds) | Kiln: rate, share of its bound |"
    yield "|---|---|---|---|---|"
    for measure, ours, other, quotient, part in rows_of(entry):
        yield f"| {measure} | {ours} | {other} | {quotient} | {part} |"
    yield ""
    yield "Kiln: " + "; ".join(own_figures(entry)) + "."
    if entry["disturbed_runs"]:
        yield ""
        yield f"**{entry['disturbed_runs']} runs were disturbed by other programs: do not trust these figures.**"
    yield ""


def as_markdown(results):
    facts = results["machine"]
    lines = [f"# Kiln beside llama.cpp on {facts['cpu']}", "",
             f"{facts['cores']} cores{' of a virtual machine' if facts['virtual'] else ''}, {facts['threads']} threads, "
             f"{facts['memory_bytes'] / GIGA:.0f} GB, Linux {facts['kernel']}; {' '.join(facts['features'])}; caches "
             f"{', '.join(f'{name} {size}' for name, size in facts['caches'].items())}.", "",
             f"Kiln {facts['kiln_commit']}; llama.cpp from {facts['llama_cpp']}, built natively by "
             f"{facts['llama_cpp_compiler']}. Medians; a ratio above 1 is in Kiln's favour, in brackets the least and the "
             "greatest of single rounds. A step asks Kiln for logits of every token, llama.cpp for the last one's. The "
             "bound of a prompt is the multipliers' peak, of decoding the read bandwidth, both measured in the same runs; "
             "attention counts in bytes, not in operations.", ""]
    for entry in results["entries"]:
        lines += entry_as_markdown(entry)
    return "\n".join(lines)
