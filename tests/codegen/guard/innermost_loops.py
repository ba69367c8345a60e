"""Innermost loops of disassembled kernels.

A kernel's instructions are cut into basic blocks; a natural loop is the set of blocks that reach a
jump back to its head without passing the head, where the head dominates the jump. Those that hold no
other loop's head are the innermost ones: where a kernel spends its time. Reads what llvm-objdump
prints for x86-64 and AArch64; standard library only.
"""
import re
import subprocess

# Multiply-adds of vectors or tiles: what the loops of a matmul or an attention are for.
PRODUCTS = {
    "x86_64": {"tile": re.compile(r"tdp\w+"), "dot": re.compile(r"vpdp\w+|vpmaddubsw|vdpbf16ps"),
               "fma": re.compile(r"vfn?m(?:add|sub)\d+p[sdh]")},
    "aarch64": {"tile": re.compile(r"[us]mmla|usmmla|bfmmla"), "dot": re.compile(r"[us]u?dot|bfdot"),
                "fma": re.compile(r"fml[as]|bfmlal[bt]")},
}
# Vector and tile registers; `mm` is in none of the other operands.
VECTOR = {
    "x86_64": re.compile(r"%(?:[xyz]?mm)\d"),
    "aarch64": re.compile(r"\b[vqds]\d+\b"),
}
STACK = {"x86_64": "(%rsp", "aarch64": "[sp"}
FRAME = {"x86_64": "(%rbp", "aarch64": "[x29"}
SETS_FRAME = {"x86_64": re.compile(r"movq\s+%rsp, %rbp"), "aarch64": re.compile(r"(?:mov|add)\s+x29, sp\b")}
BRANCH = {
    "x86_64": re.compile(r"j\w+|loop\w*"),
    "aarch64": re.compile(r"b|b\.\w+|bc\.\w+|cbn?z|tbn?z"),
}
ALWAYS = {"x86_64": {"jmp", "jmpq"}, "aarch64": {"b"}}
RETURN = {"x86_64": re.compile(r"ret\w*|ud2|hlt"), "aarch64": re.compile(r"ret|br|brk|udf")}


class Instruction:
    def __init__(self, address, text):
        self.address, self.text = address, text
        self.mnemonic, _, self.operands = text.partition("\t")
        self.operands = re.split(r"\s# |\s// ", self.operands)[0].strip()


def disassemble(objdump, image):
    """{kernel: [Instruction]} of an ELF file."""
    done = subprocess.run([objdump, "--disassemble", "--no-show-raw-insn", str(image)], stdout=subprocess.PIPE,
                          text=True, check=True)
    kernels, current = {}, None
    for line in done.stdout.splitlines():
        if found := re.fullmatch(r"[0-9a-f]+ <(.+)>:", line):
            current = kernels.setdefault(found[1], [])
        elif found := re.fullmatch(r"\s*([0-9a-f]+):\s+(\S.*)", line):
            current.append(Instruction(int(found[1], 16), found[2]))
    return kernels


def branch_target(instruction, arch):
    """The address jumped to; None for anything else than a jump."""
    if not BRANCH[arch].fullmatch(instruction.mnemonic):
        return None
    found = re.search(r"(?:^|,\s*)0x([0-9a-f]+)(?:\s|$)", instruction.operands)
    if not found:
        raise ValueError(f"{instruction.address:x}: {instruction.text}: a jump that cannot be followed")
    return int(found[1], 16)


def basic_blocks(instructions, arch):
    """([(first, end)] as positions in `instructions`, [successors]); the entry is block 0."""
    position = {instruction.address: i for i, instruction in enumerate(instructions)}
    targets = [position.get(branch_target(instruction, arch)) for instruction in instructions]
    ends = [target is not None or bool(RETURN[arch].fullmatch(instruction.mnemonic))
            for target, instruction in zip(targets, instructions)]
    heads = sorted({0} | {t for t in targets if t is not None} |
                   {i + 1 for i, ended in enumerate(ends) if ended and i + 1 < len(instructions)})
    blocks = list(zip(heads, heads[1:] + [len(instructions)]))
    number = {head: i for i, head in enumerate(heads)}
    successors = []
    for first, end in blocks:
        last = end - 1
        following = [] if targets[last] is None else [number[targets[last]]]
        goes_on = not ends[last] or (targets[last] is not None and instructions[last].mnemonic not in ALWAYS[arch])
        if goes_on and end in number:
            following.append(number[end])
        successors.append(following)
    return blocks, successors


def immediate_dominators(successors):
    """By Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"; also the predecessors."""
    order, seen, stack = [], {0}, [(0, iter(successors[0]))]
    while stack:
        block, following = stack[-1]
        for successor in following:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(successors[successor])))
                break
        else:
            order.append(block)
            stack.pop()
    rank = {block: i for i, block in enumerate(order)}
    predecessors = {block: [] for block in order}
    for block in order:
        for successor in successors[block]:
            predecessors[successor].append(block)
    dominator, changed = {0: 0}, True
    while changed:
        changed = False
        for block in reversed(order[:-1]):
            known = [p for p in predecessors[block] if p in dominator]
            best = known[0]
            for other in known[1:]:
                while best != other:
                    while rank[best] < rank[other]:
                        best = dominator[best]
                    while rank[other] < rank[best]:
                        other = dominator[other]
            if dominator.get(block) != best:
                dominator[block], changed = best, True
    return dominator, predecessors


def innermost_loops(instructions, arch):
    """The instructions of each innermost loop, in the order of their heads' addresses."""
    blocks, successors = basic_blocks(instructions, arch)
    dominator, predecessors = immediate_dominators(successors)

    def dominates(head, block):
        while block != head and block != 0:
            block = dominator[block]
        return block == head

    loops = {}
    for block in dominator:
        for head in successors[block]:
            if dominates(head, block):
                body, work = loops.setdefault(head, {head}), [block]
                while work:
                    inside = work.pop()
                    if inside not in body:
                        body.add(inside)
                        work += predecessors[inside]
    return [[i for block in sorted(body) for i in instructions[blocks[block][0]:blocks[block][1]]]
            for head, body in sorted(loops.items()) if not any(other in body for other in loops if other != head)]


def name_products(loop, arch):
    """Kinds and numbers of a loop's multiply-adds, as in "tile4+fma8"; empty where it has none."""
    counts = {kind: sum(bool(form.fullmatch(i.mnemonic)) for i in loop) for kind, form in PRODUCTS[arch].items()}
    return "+".join(f"{kind}{count}" for kind, count in counts.items() if count)


def count_stack_vectors(loop, kernel, arch):
    """Vectors and tiles that a loop of a kernel reads from the stack frame or writes there. The frame
    pointer counts only where the kernel sets one up: it is a register like any other elsewhere."""
    frame = any(SETS_FRAME[arch].match(i.text) for i in kernel)
    places = [STACK[arch]] + ([FRAME[arch]] if frame else [])
    return sum(any(place in i.operands for place in places) and bool(VECTOR[arch].search(i.operands)) for i in loop)
