"""How fast programs are judged: single-test programs a second and a core, and a test by dialogue.

    python benchmarks/code_verifier.py [--programs 600] [--at-once 8]

CPU seconds are of this process and of everything that it started (the sandboxes are its
children), so the numbers hold on a busy machine too.
"""

import argparse
import asyncio
import os
import resource
import time
from pathlib import Path

from proofgym.sandboxes import shared_sandboxes
from proofgym.verifiers import Secret, Task, Transcript, assistant
from proofgym.verifiers.code import CodeLimits, code_passes

ADD = "```python\ndef add(a, b):\n    return a + b\n```"
SUM = "```python\nprint(sum(map(int, input().split())))\n```"
KINDS = {
    "asserts, one call": (ADD, ["assert add(1, 2) == 3"]),
    "asserts, ten calls": (ADD, [f"assert add({n}, {n}) == {2 * n}" for n in range(10)]),
    "function": (
        ADD,
        {"kind": "function", "tests": [{"args": [1, 2], "expected": 3}]},
    ),
    "stdio": (SUM, {"kind": "stdio", "tests": [{"input": "1 2\n", "output": "3\n"}]}),
    "dialogue, three requests": (ADD, ["r = add(1, 2)", "assert r == 3 and add(r, 1) == 4"]),
}


def cpu_seconds() -> float:
    """Return CPU seconds of this process and all its descendants, those alive included."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    hertz = os.sysconf("SC_CLK_TCK")
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                row = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(row[1])
            spent[int(entry.name)] = sum(map(int, row[11:15])) / hertz
    tree, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree |= more
        grown = bool(more)
    return total + sum(spent[pid] for pid in tree if pid != os.getpid())


async def judge(kind: str, programs: int, at_once: int) -> tuple[float, float]:
    """Judge so many programs; return wall and CPU seconds."""
    program, gold = KINDS[kind]
    if isinstance(gold, list):
        gold = {"kind": "asserts", "tests": gold}
    task = Task(id="t", prompt="", answer=Secret({"entry_point": "add", **gold}))
    verifier = code_passes(limits=CodeLimits(test_s=20.0, total_s=60.0))
    gate = asyncio.Semaphore(at_once)
    transcript = Transcript(messages=(assistant(program),))

    async def one() -> None:
        async with gate:
            score = await verifier.ascore(task, transcript)
            assert score.value == 1.0, score

    await asyncio.gather(*(one() for _ in range(at_once)))  # slots and bytecode are warm now
    began, before = time.perf_counter(), cpu_seconds()
    await asyncio.gather(*(one() for _ in range(programs)))
    return time.perf_counter() - began, cpu_seconds() - before


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=600)
    parser.add_argument("--at-once", type=int, default=4)
    given = parser.parse_args()
    print(f"{'':28}{'CPU ms each':>12}{'a second a core':>17}{'wall, a second':>16}")
    for kind in KINDS:
        count = given.programs // (10 if kind.startswith("dialogue") else 1)
        wall, cpu = asyncio.run(judge(kind, count, given.at_once))
        print(f"{kind:28}{1000 * cpu / count:12.1f}{count / cpu:17.0f}{count / wall:16.0f}")
    shared_sandboxes().close()


if __name__ == "__main__":
    main()
