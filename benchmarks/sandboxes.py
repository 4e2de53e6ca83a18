"""Speed of the sandboxes beside subprocess, bubblewrap and docker exec; and its endurance.

    python benchmarks/sandboxes.py [--rounds 200] [--endurance 50000]

CPU is of this process and all its children, waited for or sampled from the slot's processes, so
it holds on a machine that others use too. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from proofgym.sandboxes import Limits, Pool, PoolConfig, SandboxUnavailable, Status
from proofgym.sandboxes.ns.backend import NsBackend

SNIPPET = "print(6 * 7)"
DAEMONS = ("dockerd", "containerd", "runc")
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def tree_cpu_ms(daemons: tuple[str, ...] = ()) -> float:
    """Sum CPU of this process, the daemons named, their descendants, and those they waited for."""
    rows, names = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = path.read_text().rpartition(")")
        except OSError:
            continue
        fields = tail.split()
        names[int(path.parent.name)] = head.partition("(")[2]
        rows[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    family = {os.getpid(), *(pid for pid, name in names.items() if name.startswith(daemons))}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in rows.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(rows[pid][1] for pid in family) * TICK_MS


async def measure(
    name: str,
    rounds: int,
    work: Callable[[], Awaitable[object]],
    daemons: tuple[str, ...] = (),
) -> float:
    """Run it so often and print wall and CPU for one; return the CPU."""
    for _ in range(3):
        await work()
    times = []
    cpu = tree_cpu_ms(daemons)
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    each = (tree_cpu_ms(daemons) - cpu) / rounds
    times.sort()
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    print(f"{name:38} p50 {p50:7.2f}  p99 {p99:7.2f}  min {times[0]:6.2f}  cpu {each:6.2f} ms")
    return each


async def command(*argv: str) -> None:
    """Run a program to its end, off the loop's child watcher."""
    subprocess.run(argv, capture_output=True, check=True)


async def bare_fork() -> None:
    """Fork this interpreter and run the snippet in the child."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write_fd, 1)
        exec(SNIPPET)
        sys.stdout.flush()
        os._exit(0)
    os.close(write_fd)
    os.read(read_fd, 100)
    os.close(read_fd)
    os.waitpid(pid, 0)


async def speed(rounds: int) -> None:
    """Print one line an operation."""
    backend = NsBackend()
    await backend.start()
    print(f"ns tier: {backend.isolation.tier}")
    fork = await measure("fork of this process (no isolation)", rounds, bare_fork)
    once = await measure("ns one-shot python, own namespaces", rounds,
                         lambda: backend.python_once(SNIPPET))  # fmt: skip
    await measure("ns one-shot sh -c true", rounds, lambda: backend.exec_once("true"))
    box = await backend.create(Limits())
    warm = await measure("ns sandbox python(code)", rounds, lambda: box.python(SNIPPET))
    session = await box.python_session()
    await measure("ns python session, one cell", rounds, lambda: session.run(SNIPPET))
    shell = await box.shell()
    await measure("ns shell, one command", rounds, lambda: shell.run("echo 42"))
    print(f"above a fork: one-shot {once - fork:.2f}, in a sandbox {warm - fork:.2f} ms of CPU")
    await box.upload({f"f{i}": os.urandom(512 << 10) for i in range(20)})

    async def fork_one() -> None:
        (one,) = await box.fork(1)
        await one.close()

    await measure("ns fork of 10 MB, with close", 20, fork_one)
    late = []
    for _ in range(10):
        result = await box.exec("(sleep 60 & sleep 60)", limits=Limits(wall_s=0.2))
        late.append((result.usage.wall_s - 0.2) * 1000)
    print(f"timed-out tree gone after its limit: p50 {statistics.median(late):.1f} ms, "
          f"max {max(late):.1f} ms")  # fmt: skip
    await box.close()
    await backend.close()
    await measure("subprocess python -c", max(20, rounds // 5),
                  lambda: command(sys.executable, "-c", SNIPPET))  # fmt: skip
    if shutil.which("bwrap"):
        await measure("bubblewrap python -c", max(20, rounds // 5), lambda: command(
            "bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
            os.path.realpath(sys.executable), "-c", SNIPPET))  # fmt: skip
    else:
        print("bubblewrap: not installed, left out")
    await beside_docker(rounds, warm)


async def beside_docker(rounds: int, ns_cpu_ms: float) -> None:
    """Measure our agent in a container and a docker exec, with the daemon's own CPU."""
    from proofgym.sandboxes.docker.backend import DockerBackend

    backend = DockerBackend()
    try:
        await backend.start()
    except SandboxUnavailable as error:
        print(f"docker: left out: {error}")
        await backend.close()
        return
    import docker

    from proofgym.sandboxes.docker.image import default_image

    box = await backend.create(Limits())
    await measure(
        "docker sandbox python(code), our agent", rounds, lambda: box.python(SNIPPET), DAEMONS
    )
    session = await box.python_session()
    await measure("docker python session, one cell", rounds, lambda: session.run(SNIPPET), DAEMONS)
    client = docker.from_env()
    container = client.containers.run(
        default_image(), ["sleep", "3600"], detach=True, auto_remove=True, network_mode="none"
    )

    async def execute() -> None:
        assert container.exec_run(["python3", "-c", SNIPPET]).output == b"42\n"

    try:
        executed = await measure(
            "docker exec by the SDK, python -c", max(20, rounds // 5), execute, DAEMONS
        )
        print(f"docker exec takes {executed / ns_cpu_ms:.1f} times the CPU of ns python(code)")
    finally:
        container.remove(force=True)
        client.close()
        await box.close()
        await backend.close()


async def throughput(count: int) -> None:
    """Drive a pool as hard as it goes."""
    async with Pool(NsBackend(), PoolConfig(size=4)) as pool:
        await asyncio.gather(*(pool.python(SNIPPET) for _ in range(8)))
        began, cpu = time.perf_counter(), tree_cpu_ms()
        results = await asyncio.gather(*(pool.python(SNIPPET) for _ in range(count)))
        took, used = time.perf_counter() - began, tree_cpu_ms() - cpu
    assert all(result.stdout == "42\n" for result in results)
    print(f"throughput: {count / took:.0f}/s on {os.cpu_count()} cores; "
          f"{used / count:.2f} ms of CPU each = {1000 * count / used:.0f}/s a core")  # fmt: skip


HOSTILE = (
    "import os\nwhile True: os.fork()",
    "x = bytearray(1 << 30); x[::4096] = b'1' * len(x[::4096])",
    "while True: print('x' * 65536)",
    "import os; os.kill(-1, 9)",
    "while True: pass",
)


def standing() -> dict[str, float]:
    """Count what a leak would add to."""
    own = Path("/proc/self/statm").read_text().split()
    return {
        "processes": len(list(Path("/proc").glob("[0-9]*"))),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "rss_mib": round(int(own[1]) * 4096 / 2**20, 1),
    }


async def endurance(count: int) -> None:
    """Run so many programs, a tenth of them hostile, and watch what stands."""
    hostile = Limits(wall_s=0.15, memory_mib=128, output_bytes=1 << 20, processes=16)
    async with Pool(NsBackend(), PoolConfig(size=4)) as pool:

        async def one(number: int) -> float:
            began = time.perf_counter()
            if number % 10 == 9:
                await pool.python(HOSTILE[number // 10 % len(HOSTILE)], limits=hostile)
                return 0.0
            result = await pool.python(f"print({number})")
            assert (result.status, result.stdout) == (Status.OK, f"{number}\n"), result
            return (time.perf_counter() - began - result.usage.queue_s) * 1000

        step = max(count // 10, 10)
        for start in range(0, count, step):
            began = time.perf_counter()
            times = []
            for batch in range(start, min(start + step, count), 100):
                times += await asyncio.gather(*map(one, range(batch, min(batch + 100, count))))
            honest = [t for t in times if t]
            print(
                f"{start + len(times):6} runs, "
                f"{len(times) / (time.perf_counter() - began):4.0f}/s, "
                f"honest p50 {statistics.median(honest):.1f} ms, {standing()}",
                flush=True,
            )
        print(pool.stats())


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--endurance", type=int, default=0)
    options = parser.parse_args()
    if options.endurance:
        asyncio.run(endurance(options.endurance))
        return
    asyncio.run(speed(options.rounds))
    asyncio.run(throughput(1000))


if __name__ == "__main__":
    main()
