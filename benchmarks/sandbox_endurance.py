"""Run many programs, a tenth of them hostile, then many sessions side by side: nothing may stay.

    python benchmarks/sandbox_endurance.py [--count 50000] [--sessions 200]

Prints a line a tenth of the way, and ends with exit code 1 when a process, cgroup, mount,
descriptor or file is left, memory grew, a result was wrong, or a session saw another's secret.
What it counts is this process's own, so other work on the machine does not disturb it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from proofgym.sandboxes import Limits, Pool, PoolConfig, Status
from proofgym.sandboxes.cgroups import find_root
from proofgym.sandboxes.ns.backend import NsBackend

HOSTILE = {
    "fork bomb": "import os\nwhile True: os.fork()",
    "memory": "x = bytearray(1 << 30); x[::4096] = b'1' * len(x[::4096])",
    "output": "while True: print('x' * 65536)",
    "kills all": "import os; os.kill(-1, 9)",
    "spins": "while True: pass",
    "daemons": "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n"
    "        while True: pass",
    "disk": "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(b'x' * 65536); n += 1",
    "inodes": "n = 0\nwhile True:\n    open(f'f{n}', 'wb'); n += 1",
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
}
HOSTILE_LIMITS = Limits(wall_s=0.3, memory_mib=128, output_bytes=1 << 20, processes=16, disk_mib=8)
GROWTH_MIB = 16.0  # more than the allocator's own noise, less than 1 KiB a run over 50,000


@dataclass(frozen=True, slots=True)
class Standing:
    """What a leak would add to, of this process alone."""

    processes: int
    cgroups: int
    mounts: int
    descriptors: int
    files: int
    rss_mib: float


def standing() -> Standing:
    """Count it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    root = find_root()
    groups = root.folders() if root is not None else []
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return Standing(
        processes=len(family) - 1,
        cgroups=sum(len(list(group.glob(f"proofgym-{os.getpid()}-*"))) for group in groups),
        mounts=sum("proofgym" in line or line.startswith(("job ", "root ")) for line in mounts),
        descriptors=len(os.listdir("/proc/self/fd")),
        files=len(list(Path(tempfile.gettempdir()).glob(f"proofgym-*-{os.getpid()}-*"))),
        rss_mib=round(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20, 1),
    )


async def executions(count: int) -> list[str]:
    """Run the programs; return what went wrong."""
    problems: list[str] = []
    wild = list(HOSTILE.values())
    marks: list[Standing] = []
    async with Pool(NsBackend(), PoolConfig(size=4)) as pool:

        async def one(number: int) -> tuple[float, float] | None:
            if number % 10 == 9:
                await pool.python(wild[number // 10 % len(wild)], limits=HOSTILE_LIMITS)
                return None
            result = await pool.python(f"print({number})", limits=Limits(wall_s=60))
            if (result.status, result.stdout) != (Status.OK, f"{number}\n"):
                problems.append(f"run {number}: {result}")
            return result.usage.wall_s * 1000, result.usage.cpu_s * 1000

        step = max(count // 10, 1)
        for start in range(0, count, step):
            began = time.perf_counter()
            costs: list[tuple[float, float]] = []
            end = min(start + step, count)
            for batch in range(start, end, 100):
                done = await asyncio.gather(*map(one, range(batch, min(batch + 100, end))))
                costs += [cost for cost in done if cost is not None]
            marks.append(standing())
            walls, cpus = zip(*costs, strict=True)
            print(
                f"{end:6} runs  {(end - start) / (time.perf_counter() - began):5.0f}/s  "
                f"honest: wall p50 {statistics.median(walls):5.1f} ms, "
                f"cpu p50 {statistics.median(cpus):4.2f} ms  {asdict(marks[-1])}",
                flush=True,
            )
        stats = pool.stats()
        print(f"execs {stats.execs}, kills {dict(stats.kills)}, faults {stats.faults}")
    if stats.execs != count or stats.faults:
        problems.append(f"{count} programs were asked for: {stats}")
    first, last = marks[min(1, len(marks) - 1)], marks[-1]
    for name in ("processes", "cgroups", "mounts", "descriptors", "files"):
        # Slots come and go with their number of runs, so a few more or less are no leak.
        if getattr(last, name) > getattr(first, name) + 8:
            problems.append(f"{name} grew from {getattr(first, name)} to {getattr(last, name)}")
    if last.rss_mib > first.rss_mib + GROWTH_MIB:
        problems.append(f"memory grew from {first.rss_mib} to {last.rss_mib} MiB")
    return problems


LOOK = (
    "cat /proc/*/environ /proc/*/cmdline /proc/*/comm /tmp/* /var/tmp/* /dev/shm/* /workspace/* "
    "2>/dev/null; env; ls -laR /workspace /tmp /dev/shm"
)


async def sessions(count: int) -> list[str]:
    """Hold so many sandboxes at one time, each with a secret; return who saw another's."""
    everyone = [secrets.token_hex(8) for _ in range(count)]
    ready = asyncio.Barrier(count)

    async def one(pool: Pool, mine: str) -> list[str]:
        async with pool.acquire(Limits(wall_s=120)) as box:
            await box.write("secret", mine.encode())
            await box.exec(f"(exec -a {mine} sleep 600) >/dev/null 2>&1 &", env={"MINE": mine})
            await box.exec(f"echo {mine} > /tmp/{mine}; echo {mine} > /dev/shm/{mine}")
            session = await box.python_session()
            await session.run(f"mine = {mine!r}")
            await ready.wait()  # all of them stand now
            await asyncio.sleep(random.random())
            seen = (await box.exec(LOOK)).stdout + (await session.run("print(mine)")).stdout
            seen += (await box.read("secret")).decode()
            found = {secret for secret in everyone if secret in seen}
            return [] if found == {mine} else [f"session {mine} saw {sorted(found)}"]

    began = time.perf_counter()
    config = PoolConfig(size=count, max_waiting=count, acquire_s=600)
    async with Pool(NsBackend(), config) as pool:
        found = await asyncio.gather(*(one(pool, secret) for secret in everyone))
    problems = [problem for problems in found for problem in problems]
    print(
        f"{count} sessions at one time in {time.perf_counter() - began:.1f} s: "
        f"{len(problems)} saw what was not theirs"
    )
    return problems


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--sessions", type=int, default=200)
    options = parser.parse_args()
    asyncio.run(asyncio.sleep(0))
    before = standing()
    problems = asyncio.run(executions(options.count)) if options.count else []
    if options.sessions:
        problems += asyncio.run(sessions(options.sessions))
    after = standing()
    print(f"before {asdict(before)}\nafter  {asdict(after)}")
    for name in ("processes", "cgroups", "mounts", "descriptors", "files"):
        if getattr(after, name) != getattr(before, name):
            problems.append(f"{name}: {getattr(before, name)} before, {getattr(after, name)} after")
    for problem in problems[:20]:
        print(f"PROBLEM {problem}")
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
