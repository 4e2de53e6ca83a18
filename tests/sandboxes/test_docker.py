"""Docker containers for real: hardening, limits, faults, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes import (
    Limits,
    Pool,
    PoolConfig,
    SandboxError,
    SandboxLost,
    SandboxUnavailable,
    Status,
)
from proofgym.sandboxes.docker.backend import DockerBackend, DockerConfig
from proofgym.sandboxes.docker.image import default_image, root_file_system
from proofgym.sandboxes.docker.owner import OWNER_LABEL, SANDBOX_LABEL, Owner
from tests.sandboxes.abuse import processes_with
from tests.sandboxes.conftest import unavailable
from tests.sandboxes.test_pool import HOST, children, eventually

pytestmark = pytest.mark.docker
Use = Callable[[DockerBackend], Coroutine[Any, Any, Any]]


def use(work: Use, config: DockerConfig | None = None) -> Any:
    """Run a test's work on a fresh backend and close it."""

    async def run() -> Any:
        backend = DockerBackend(config)
        try:
            await backend.start()
            return await work(backend)
        except SandboxUnavailable as error:
            if config is not None:
                raise
            unavailable(str(error))
        finally:
            await backend.close()

    return asyncio.run(run())


@pytest.fixture
def client() -> Iterator[Any]:
    docker = pytest.importorskip("docker")
    try:
        made = docker.from_env()
    except docker.errors.DockerException as error:
        unavailable(f"no docker daemon: {error}")
    yield made
    made.close()


def ours(client: Any) -> list[Any]:
    rows = client.api.containers(all=True, filters={"label": SANDBOX_LABEL})
    me = Owner.this_process().label()
    return [row for row in rows if row["Labels"][OWNER_LABEL] == me]


def test_the_container_is_hardened(client: Any) -> None:
    async def look(backend: DockerBackend) -> Any:
        async with await backend.create(Limits(processes=10, memory_mib=100)) as box:
            (row,) = ours(client)
            status = (await box.exec("cat /proc/1/status /proc/self/status; id -u")).stdout
            wrote = await box.exec("touch /usr/x || touch /etc/x || touch /x || chmod 777 /tmp/..")
            return client.api.inspect_container(row["Id"]), status, wrote

    about, status, wrote = use(look)
    host = about["HostConfig"]
    assert (host["NetworkMode"], host["CapDrop"], host["CapAdd"]) == ("none", ["ALL"], None)
    assert (host["ReadonlyRootfs"], host["IpcMode"], host["Privileged"]) == (True, "private", False)
    assert host["SecurityOpt"][0] == "no-new-privileges:true"
    assert host["SecurityOpt"][1].startswith('seccomp={"defaultAction": "SCMP_ACT_ERRNO"')
    assert host["Memory"] == host["MemorySwap"] == (100 + 24) << 20
    assert (host["PidsLimit"], host["NanoCpus"]) == (10 + 8, 10**9)
    assert host["LogConfig"]["Type"] == "none"
    assert not host["Binds"]
    assert about["Config"]["User"] == "1000:1000"
    assert [line.split()[1] for line in status.splitlines() if line.startswith("Cap")] == (
        ["0" * 16] * 10
    )
    assert status.count("NoNewPrivs:\t1") == status.count("Seccomp:\t2") == 2
    assert status.endswith("\n1000\n")
    assert wrote.exit_code == 1


def test_the_agent_cannot_be_reached_by_its_programs() -> None:
    code = (
        "import os, signal\n"
        "for number in (9, 19, 15, 10, 11): os.kill(1, number)\n"
        "for name in ('mem', 'environ', 'maps', 'fd/0', 'fd/3', 'oom_score_adj'):\n"
        "    try:\n        os.close(os.open(f'/proc/1/{name}', os.O_RDWR)); print('ESCAPED')\n"
        "    except OSError: pass\n"
        "os.kill(-1, 9)"
    )

    async def attack(backend: DockerBackend) -> Any:
        async with await backend.create(Limits()) as box:
            return await box.python(code), await box.python("print('on')")

    result, after = use(attack)
    assert "ESCAPED" not in result.stdout
    assert after.stdout == "on\n"


def test_a_runs_own_limits_are_set_on_the_running_container() -> None:
    bomb = "x = [b'x' * (8 << 20) for _ in range(12)]; print(len(x))"
    forks = (
        "import os, time\nn = 0\ntry:\n    while n < 60:\n        if os.fork() == 0:\n"
        "            time.sleep(9); os._exit(0)\n        n += 1\nexcept OSError: pass\nprint(n)"
    )

    async def vary(backend: DockerBackend) -> Any:
        async with await backend.create(Limits(memory_mib=256)) as box:
            roomy = await box.python(bomb)
            tight = await box.python(bomb, limits=Limits(memory_mib=32))
            few = await box.python(forks, limits=Limits(processes=12, wall_s=5))
            return roomy, tight, few

    roomy, tight, few = use(vary)
    assert roomy.stdout == "12\n"
    assert (tight.status, tight.enforced_by) == (Status.MEMORY, "cgroup")
    assert 6 <= int(few.stdout) <= 20


def test_a_full_disk_is_the_programs_own_data() -> None:
    async def fill(backend: DockerBackend) -> Any:
        async with await backend.create(Limits(disk_mib=4)) as box:
            full = await box.exec("head -c 3M /dev/zero > a; head -c 3M /dev/zero > b")
            with pytest.raises(SandboxError, match="no-space"):
                await box.write("more", b"x" * 100_000)
            return full, await box.exec("rm a b; echo freed")

    full, after = use(fill)
    assert (full.status, "No space left" in full.stderr) == (Status.EXITED, True)
    assert after.stdout == "freed\n"


def test_an_agent_that_fell_for_want_of_memory_is_the_programs_doing() -> None:
    """Files in memory stay when their writer is killed, so the next to be killed is the agent."""
    code = "with open('/dev/shm/x', 'wb') as f:\n    for _ in range(100): f.write(b'x' * (4 << 20))"

    async def fill(backend: DockerBackend) -> Any:
        async with await backend.create(Limits(memory_mib=32, disk_mib=512)) as box:
            return await box.python(code)

    assert use(fill).status is Status.MEMORY


def test_closing_leaves_nothing(client: Any) -> None:
    word = "cl" + secrets.token_hex(6)
    assert ours(client) == []  # and the client's own connection is open
    before = children(), len(os.listdir("/proc/self/fd"))

    async def work(backend: DockerBackend) -> None:
        async with Pool(backend, PoolConfig(size=3, spares=1)) as pool:
            await asyncio.gather(*(pool.python("print(1)") for _ in range(3)))
            async with pool.acquire() as box:
                await box.exec(f"sleep 100 & : {word}")
                assert len(ours(client)) >= 1

    use(work)
    assert ours(client) == []
    assert processes_with(word) == []
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_a_cancelled_start_leaves_no_container(client: Any) -> None:
    async def interrupt(backend: DockerBackend) -> None:
        for after_s in (0.0, 0.05, 0.2):
            task = asyncio.ensure_future(backend.create(Limits()))
            await asyncio.sleep(after_s)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()
        assert await asyncio.to_thread(eventually, lambda: not ours(client), 20.0)

    use(interrupt)


def test_a_killed_host_leaves_nothing(client: Any) -> None:
    mark = "kh" + secrets.token_hex(6)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST.replace("MARK", mark).replace("NAME", "docker")],
        stdout=subprocess.PIPE,
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    assert processes_with(mark)
    host.kill()
    host.wait()
    host.stdout.close()

    def left() -> list[Any]:
        return client.api.containers(all=True, filters={"name": f"proofgym-{host.pid}-"})

    assert eventually(lambda: not processes_with(mark), 20.0)
    assert eventually(lambda: not left(), 20.0)


def test_only_containers_of_dead_processes_are_reaped(client: Any) -> None:
    me = Owner.this_process()
    dead = dataclasses.replace(me, started=me.started - 1)

    async def work(backend: DockerBackend) -> None:
        made = [
            client.api.create_container(
                default_image(), ["true"],
                labels={SANDBOX_LABEL: "1", OWNER_LABEL: owner.label()},
            )["Id"]
            for owner in (dead, me)
        ]  # fmt: skip
        assert backend._daemon is not None
        assert await backend._daemon.reap() >= 1
        left = {row["Id"] for row in client.api.containers(all=True)}
        assert [one in left for one in made] == [False, True]
        client.api.remove_container(made[1])

    use(work)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DockerConfig(image="proofgym-none:no"), r"no image 'proofgym-none:no'.*docker pull"),
        (DockerConfig(runtime="nonesuch"), r"no runtime 'nonesuch'.*--add-runtime"),
    ],
    ids=["image", "runtime"],
)
def test_what_is_missing_is_named_with_its_remedy(
    client: Any, config: DockerConfig, words: str
) -> None:
    async def never(backend: DockerBackend) -> None:
        raise AssertionError("started")

    with pytest.raises(SandboxUnavailable, match=words):
        use(never, config)


def test_two_sandboxes_see_nothing_of_each_other() -> None:
    async def look(backend: DockerBackend) -> Any:
        async with await backend.create(Limits()) as one, await backend.create(Limits()) as two:
            await one.write("/tmp/secret", b"hidden")
            await one.exec("sleep 60 & : hidden-word")
            session = await one.python_session()
            await session.run("x = 1")
            found = await two.exec("ls /proc | grep -c '^[0-9]'; cat /proc/*/cmdline /tmp/*")
            return found.stdout

    assert "hidden" not in use(look)


@pytest.mark.slow
def test_any_image_can_be_named(client: Any) -> None:
    """One without our user and workspace, and with an entry point and variables of its own."""
    from proofgym.sandboxes.docker.daemon import Daemon

    name = "proofgym-test:named"

    async def work(backend: DockerBackend) -> str:
        async with await backend.create(Limits()) as box:
            await box.write("f", b"1")
            return (await box.exec("echo $MINE; id -u; pwd; ls")).stdout

    async def make() -> None:
        daemon = await Daemon.connect()
        try:
            changes = ("ENV PATH=/usr/bin", "ENV MINE=kept", 'ENTRYPOINT ["/bin/false"]')
            await daemon.import_image(name, root_file_system, changes)
        finally:
            daemon.close()

    asyncio.run(make())
    try:
        assert use(work, DockerConfig(image=name, user="4321")) == "kept\n4321\n/workspace\nf\n"
    finally:
        client.images.remove(name)


# -- the daemon dies in the middle --------------------------------------------------------------


class OwnDaemon:
    """A dockerd of the test's own, on a private socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/d.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self.folder
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--host", self.host, "--data-root", f"{folder}/data", "--exec-root",
                 f"{folder}/exec", "--pidfile", f"{folder}/pid", "--bridge=none",
                 "--iptables=false", "--ip6tables=false", "--ip-masq=false",
                 "--ip-forward=false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        docker = pytest.importorskip("docker")

        def answers() -> bool:
            with contextlib.suppress(docker.errors.DockerException):
                docker.DockerClient(base_url=self.host).close()
                return True
            return False

        assert eventually(lambda: (folder / "d.sock").exists() and answers(), 60.0), (
            folder / "log"
        ).read_text()[-2000:]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        (self.folder / "d.sock").unlink(missing_ok=True)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture
def own_daemon() -> Iterator[OwnDaemon]:
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        unavailable("needs dockerd and root, to start a daemon of its own")
    folder = Path(f"/tmp/pg-{secrets.token_hex(4)}")  # a socket's path must be short
    folder.mkdir()
    daemon = OwnDaemon(folder)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.stop()
        # A killed daemon leaves its data folder mounted on itself.
        subprocess.run(["umount", f"{folder}/data"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_killed_daemon_is_a_typed_error_and_the_pool_recovers(own_daemon: OwnDaemon) -> None:
    word = "dk" + secrets.token_hex(6)

    async def work(backend: DockerBackend) -> list[Any]:
        async with Pool(backend, PoolConfig(size=2)) as pool:
            seen: list[Any] = [(await pool.python("print('before')")).stdout]
            job = ["/bin/sh", "-c", f"echo started >> mark; sleep 60; : {word}"]
            task = asyncio.ensure_future(pool.exec(job))
            assert await asyncio.to_thread(eventually, lambda: processes_with(word), 20.0)
            own_daemon.kill()
            with pytest.raises(SandboxLost):
                await task
            with pytest.raises(SandboxLost):
                await pool.python("print('while it is down')")
            seen.append(pool.stats().faults)
            assert await asyncio.to_thread(eventually, lambda: not processes_with(word), 20.0)
            await asyncio.to_thread(own_daemon.start)
            seen.append((await pool.python("print('after')")).stdout)
            seen.append(pool.stats().execs)
            return seen

    before, faults, after, execs = use(work, DockerConfig(host=own_daemon.host))
    assert (before, after, execs) == ("before\n", "after\n", 2)
    assert faults >= 2
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=own_daemon.host)

    def left() -> list[Any]:
        return client.api.containers(all=True)

    try:
        assert eventually(lambda: not left(), 20.0)
    finally:
        client.close()


def test_the_command_line_removes_what_a_killed_process_left(client: Any) -> None:
    """`clean` is what `proofgym doctor --clean-sandboxes` calls."""
    from proofgym.sandboxes.docker.daemon import clean

    async def nothing(backend: DockerBackend) -> None:
        return None

    use(nothing)  # the image is there
    me = Owner.this_process()
    dead = dataclasses.replace(me, started=me.started - 1)
    made = client.api.create_container(
        default_image(), ["true"], labels={SANDBOX_LABEL: "1", OWNER_LABEL: dead.label()}
    )["Id"]
    assert asyncio.run(clean()) >= 1
    assert made not in {row["Id"] for row in client.api.containers(all=True)}
