"""Speed of the sandboxes beside subprocess, bubblewrap and docker exec.

    python benchmarks/sandboxes.py [--rounds 200]

CPU is of this process and all its children, waited for or sampled from the slot's processes, so
it holds on a machine that others use too. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from proofgym.sandboxes import Limits, Pool, PoolConfig, Sandbox, SandboxUnavailable
from proofgym.sandboxes.agent import PR_SET_CHILD_SUBREAPER
from proofgym.sandboxes.kernel import calls
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
    """Run a program to its end, off the loop's child watcher, and wait for its orphans too.

    bubblewrap does not wait for its pid 1, whose CPU would be nobody's.
    """
    subprocess.run(argv, capture_output=True, check=True)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


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

    for n in (1, 16):
        await forking(box, n)
    late = []
    for _ in range(10):
        result = await box.exec("(sleep 60 & sleep 60)", limits=Limits(wall_s=0.2))
        late.append((result.usage.wall_s - 0.2) * 1000)
    print(f"timed-out tree gone after its limit: p50 {statistics.median(late):.1f} ms, "
          f"max {max(late):.1f} ms")  # fmt: skip
    await box.close()
    await backend.close()
    calls.prctl(PR_SET_CHILD_SUBREAPER, 1)
    await measure("subprocess python -c", max(20, rounds // 5),
                  lambda: command(sys.executable, "-c", SNIPPET))  # fmt: skip
    if shutil.which("bwrap"):
        await measure("bubblewrap python -c", max(20, rounds // 5), lambda: command(
            "bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
            os.path.realpath(sys.executable), "-c", SNIPPET))  # fmt: skip
    else:
        print("bubblewrap: not installed, left out")
    await beside_docker(rounds, warm)


async def forking(box: Sandbox, n: int) -> None:
    """Fork a session with its files, in slots that are warm; closing is not in the time."""
    for one in await box.fork(n):
        await one.close()
    times, cpus = [], []
    for _ in range(10):
        earlier, cpu = tree_cpu_ms(), tree_cpu_ms()  # their difference is what looking costs
        began = time.perf_counter()
        forks = await box.fork(n)
        times.append((time.perf_counter() - began) * 1000)
        cpus.append((tree_cpu_ms() - cpu - (cpu - earlier)) / n)
        for one in forks:
            await one.close()
    print(f"{f'ns fork({n}) of 10 MB, warm slots':38} p50 {statistics.median(times):7.2f}  "
          f"min {min(times):6.2f} in all, cpu {statistics.mean(cpus):6.2f} ms a fork")  # fmt: skip


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


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    asyncio.run(speed(options.rounds))
    asyncio.run(throughput(1000))


if __name__ == "__main__":
    main()
