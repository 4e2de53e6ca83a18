"""The pool, its faults, and what is left behind when it ends."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes import (
    BlockingSandbox,
    Limits,
    Pool,
    PoolConfig,
    SandboxBusy,
    SandboxClosed,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
    Status,
    open_sandbox,
    select_backend,
    selection,
)
from proofgym.sandboxes.cgroups import find_root
from proofgym.sandboxes.ns.backend import NsBackend
from tests.sandboxes.abuse import processes_with

pytestmark = pytest.mark.namespaces
HOST = """
import asyncio, sys
from proofgym.sandboxes import Pool
from proofgym.sandboxes.selection import backend_named

async def main():
    pool = Pool(backend_named("NAME", i_trust_this_code=True))
    await pool.start()
    async with pool.acquire() as box:
        await box.exec("(while :; do sleep 1; done; : MARK) >/dev/null 2>&1 &")
        await (await box.shell()).run("A=1")
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in listed.split()}


def groups(pid: int) -> list[str]:
    root = find_root()
    folders = root.folders() if root is not None else []
    return [path.name for folder in folders for path in folder.glob(f"proofgym-{pid}-*")]


def folders(pid: int) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"proofgym-*-{pid}-*"))


def mounts() -> int:
    """Count ours: whatever else is on the machine may mount as it likes."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sum("proofgym" in line or line.startswith(("job ", "root ")) for line in lines)


def eventually(condition: Any, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_no_more_run_at_once_than_the_pool_has_places() -> None:
    async def use() -> list[float]:
        async with Pool(NsBackend(), PoolConfig(size=2)) as pool:
            results = await asyncio.gather(*(pool.exec("sleep 0.2") for _ in range(6)))
            return sorted(result.usage.queue_s for result in results)

    waits = asyncio.run(use())
    assert waits[0] < 0.15
    assert waits[-1] >= 0.35


def test_a_full_queue_is_refused() -> None:
    async def use() -> None:
        async with Pool(NsBackend(), PoolConfig(size=1, max_waiting=1)) as pool:
            tasks = [asyncio.ensure_future(pool.exec("sleep 0.3")) for _ in range(2)]
            await asyncio.sleep(0.1)
            with pytest.raises(SandboxBusy):
                await pool.exec("true")
            assert [task.status for task in await asyncio.gather(*tasks)] == [Status.OK] * 2

    asyncio.run(use())


def test_waiting_too_long_names_the_phase() -> None:
    async def use() -> SandboxTimeout:
        async with Pool(NsBackend(), PoolConfig(size=1, acquire_s=0.5)) as pool:
            async with pool.acquire():
                with pytest.raises(SandboxTimeout) as caught:
                    await pool.python("1")
            return caught.value

    assert asyncio.run(use()).phase == "queue"


def test_metrics_count_what_happened() -> None:
    async def use() -> Any:
        async with Pool(NsBackend(), PoolConfig(size=2, spares=1)) as pool:
            await pool.python("print(1)")
            await pool.python("while True: pass", limits=Limits(wall_s=0.2))
            async with pool.acquire() as box:
                await box.python("print(1)")
                await box.exec("sleep 9", limits=Limits(wall_s=0.2))
                await (await box.shell()).run("true")
                await (await box.python_session()).run("1")
            return pool.stats()

    stats = asyncio.run(use())
    assert (stats.execs, stats.kills, stats.faults) == (6, {"timeout": 2}, 0)
    assert stats.starts >= 1


def test_forks_take_places_of_the_pool_until_they_are_closed() -> None:
    async def use() -> list[Any]:
        seen: list[Any] = []
        config = PoolConfig(size=3, acquire_s=1.0)
        async with Pool(NsBackend(), config) as pool, pool.acquire() as box:
            with pytest.raises(SandboxBusy, match=r"PoolConfig\.size"):
                await box.fork(3)
            one, two = await box.fork(2)
            seen.append(pool.stats().at_work)
            with pytest.raises(SandboxTimeout, match="queue"):
                await one.fork()
            await two.close()
            await two.close()
            (three,) = await one.fork()
            await three.python("1")
            await three.close()
            await one.close()
            seen += [pool.stats().at_work, pool.stats().execs, pool.stats().starts]
        return seen

    assert asyncio.run(use()) == [3, 1, 1, 4]


def test_a_killed_zygote_is_a_typed_error_and_the_pool_recovers() -> None:
    async def use() -> str:
        backend = NsBackend()
        async with Pool(backend) as pool:
            task = asyncio.ensure_future(pool.exec("sleep 20"))
            await asyncio.sleep(0.4)
            for slot in list(backend._slots):
                os.kill(slot.pid, signal.SIGKILL)
            with pytest.raises(SandboxLost):
                await task
            assert pool.stats().faults == 1
            return (await pool.python("print('on')")).stdout

    assert asyncio.run(use()) == "on\n"


def test_an_idle_slot_that_died_is_replaced() -> None:
    async def use() -> str:
        backend = NsBackend()
        async with Pool(backend, PoolConfig(spares=1)) as pool:
            for slot in list(backend._slots):
                os.kill(slot.pid, signal.SIGKILL)
            await asyncio.sleep(0.2)
            async with pool.acquire() as box:
                return (await box.python("print('on')")).stdout

    assert asyncio.run(use()) == "on\n"


OUT_OF_PIDS = """
import asyncio, pathlib, sys
from proofgym.sandboxes import Limits, Pool, PoolConfig, SandboxLost
from proofgym.sandboxes.ns.backend import NsBackend
limit = pathlib.Path(sys.argv[1]) / "pids.max"
(limit.parent / "cgroup.procs").write_text("0")

def full(whether):
    # This process's own group, as if it were the whole host.
    used = int((limit.parent / "pids.current").read_text())
    limit.write_text(str(used) if whether else "max")

async def main():
    async with Pool(NsBackend(), PoolConfig(size=4)) as pool:
        assert (await pool.python("print('before')")).stdout == "before\\n"
        await asyncio.to_thread(print, "warm")
        full(True)
        seen = await asyncio.gather(
            *(pool.python(f"print({n})") for n in range(4)), return_exceptions=True
        )
        full(False)
        kinds = sorted({type(one).__name__ for one in seen})
        print(kinds, [one.stdout for one in seen if not isinstance(one, Exception)])
        print((await pool.python("print('after')")).stdout, pool.stats().faults)

asyncio.run(main())
"""


def test_a_host_out_of_pids_is_a_typed_error_and_the_pool_recovers() -> None:
    root = find_root()
    if root is None:
        pytest.skip("needs a cgroup of its own, to be out of pids alone")
    place = root.pids / f"proofgym-test-{os.getpid()}"
    place.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", OUT_OF_PIDS, str(place)], capture_output=True, text=True,
            timeout=100,
        )  # fmt: skip
    finally:
        place.rmdir()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1:] == ["['SandboxLost'] []", "after", " 4"]


FULL_DISK = """
import asyncio, os, subprocess, sys, tempfile
from proofgym.sandboxes import Limits, SandboxLost
from proofgym.sandboxes.landlock.backend import LandlockBackend
tempfile.tempdir = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=6,mode=755", "x", sys.argv[1]],
               check=True)

async def main():
    backend = LandlockBackend()
    for name in "abcd":
        os.mkdir(f"{sys.argv[1]}/{name}")
    try:
        await backend.create(Limits())
    except SandboxLost as error:
        print(error)
    for name in "abcd":
        os.rmdir(f"{sys.argv[1]}/{name}")
    async with await backend.create(Limits()) as box:
        print((await box.python("print('on')")).stdout)
    await backend.close()
    print(os.listdir(sys.argv[1]))

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a disk that is full")
def test_a_full_disk_is_a_typed_error_and_then_it_goes_on() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # its programs have a user of their own
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", FULL_DISK, place],
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1:] == ["on", "", "[]"]


def test_closing_leaves_nothing() -> None:
    before = children(), mounts(), len(os.listdir("/proc/self/fd"))

    async def use() -> None:
        async with Pool(NsBackend(), PoolConfig(size=3, spares=2)) as pool:
            await asyncio.gather(*(pool.python("print(1)") for _ in range(12)))
            async with pool.acquire() as box:
                await box.exec("sleep 100 &")

    asyncio.run(use())
    assert groups(os.getpid()) == []
    assert (children(), mounts(), len(os.listdir("/proc/self/fd"))) == before


@pytest.mark.parametrize("name", ["ns", "landlock", "unsafe-local"])
def test_a_killed_host_leaves_nothing(name: str) -> None:
    mark = "kh" + secrets.token_hex(6)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST.replace("MARK", mark).replace("NAME", name)],
        stdout=subprocess.PIPE,
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    host.kill()
    host.wait()
    host.stdout.close()
    assert eventually(lambda: not groups(host.pid))
    assert eventually(lambda: not processes_with(mark))
    assert eventually(lambda: not folders(host.pid))


def test_a_used_pool_is_closed_for_good() -> None:
    async def use() -> None:
        pool = Pool(NsBackend())
        await pool.start()
        await pool.close()
        with pytest.raises(SandboxClosed):
            await pool.python("1")

    asyncio.run(use())


def test_sandboxes_side_by_side_see_only_their_own_secret() -> None:
    everyone = [secrets.token_hex(8) for _ in range(32)]

    async def one(pool: Pool, mine: str) -> set[str]:
        async with pool.acquire() as box:
            await box.write("secret", mine.encode())
            session = await box.python_session()
            await session.run(f"mine = {mine!r}")
            await asyncio.sleep(random.random() / 10)
            found = await box.exec("cat /proc/*/environ /proc/*/cmdline /tmp/* * 2>/dev/null")
            seen = found.stdout + (await session.run("print(mine)")).stdout
            return {secret for secret in everyone if secret in seen}

    async def use() -> list[set[str]]:
        async with Pool(NsBackend(), PoolConfig(size=16)) as pool:
            return await asyncio.gather(*(one(pool, secret) for secret in everyone))

    assert asyncio.run(use()) == [{secret} for secret in everyone]


def test_the_synchronous_face() -> None:
    with open_sandbox(limits=Limits(wall_s=5)) as box:
        assert isinstance(box, BlockingSandbox)
        assert box.python("print(6 * 7)").stdout == "42\n"
        session = box.python_session()
        session.run("x = 1")
        assert session.run("x").stdout == "1\n"
        box.write("f", b"1")
        assert box.read("f") == b"1"


def test_a_blocking_call_on_its_own_loop_is_an_error() -> None:
    async def use() -> None:
        backend = NsBackend()
        async with await backend.create(Limits()) as inner:
            box = BlockingSandbox(inner, asyncio.get_running_loop())
            with pytest.raises(RuntimeError, match="own event loop"):
                box.python("1")
            seen = await asyncio.to_thread(box.python, "print(5)")
            assert seen.stdout == "5\n"
        await backend.close()

    asyncio.run(use())


def test_a_missing_property_is_an_error_not_a_weaker_sandbox() -> None:
    with pytest.raises(SandboxUnavailable, match="gvisor"):
        asyncio.run(select_backend("auto", require=["gvisor"]))


@pytest.mark.parametrize(
    ("word", "remedy"), [("vm", "Kata"), ("gvisor", "runsc"), ("cgroup-memory", "systemd-run")]
)
def test_a_missing_property_comes_with_its_remedy(word: str, remedy: str) -> None:
    with pytest.raises(SandboxUnavailable, match=rf"lacks {word}.*{remedy}"):
        asyncio.run(select_backend("landlock", require=[word]))


@pytest.mark.parametrize("trust", [{}, {"i_trust_this_code": False}, {"i_trust_this_code": 1}])
def test_unsafe_local_needs_an_explicit_word(trust: dict[str, Any]) -> None:
    with pytest.raises(SandboxUnavailable, match="i_trust_this_code=True"):
        open_sandbox("unsafe-local", **trust)


def test_unsafe_local_runs_with_our_packages_and_says_that_nothing_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    selection._log_once.cache_clear()
    for _ in range(2):
        with open_sandbox("unsafe-local", i_trust_this_code=True) as box:
            assert box.python("import pydantic; print('found')").stdout == "found\n"
            assert box.isolation.properties == frozenset()
    said = [record for record in caplog.records if "unsafe-local" in record.message]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "your user's rights" in said[0].message


def test_auto_takes_the_next_backend_and_says_why_when_none_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(self: NsBackend) -> None:
        raise SandboxUnavailable("ns: refused here")

    async def use() -> str:
        backend = await select_backend()
        await backend.close()
        return backend.isolation.backend

    monkeypatch.setattr(NsBackend, "start", refuse)
    assert asyncio.run(use()) == "landlock"
    with pytest.raises(SandboxUnavailable, match=r"refused here.*lacks vm.*Kata"):
        asyncio.run(select_backend(require=["vm"]))


@pytest.mark.parametrize("arguments", [{"name": "nope"}, {"require": ["magic"]}])
def test_unknown_words_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        asyncio.run(select_backend(**arguments))
