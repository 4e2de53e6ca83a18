"""One contract suite over every backend."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from typing import Any

import pytest

from proofgym.sandboxes.errors import SandboxClosed, SandboxFileError
from proofgym.sandboxes.protocol import Backend, FileKind, Limits, Sandbox, Status
from tests.sandboxes.conftest import Run

LIMITS = Limits(memory_mib=256, wall_s=10.0)


@pytest.fixture
def box(backend: Backend, run: Run[Any]) -> Any:
    """Make a fresh sandbox."""
    sandbox = run(backend.create(LIMITS))
    yield sandbox
    run(sandbox.close())


def test_python_prints(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.python("print(6 * 7)"))
    assert (result.status, result.stdout, result.exit_code) == (Status.OK, "42\n", 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 3", 3), (["/bin/sh", "-c", "exit 255"], 255), (["/no/such/program"], 127)],
    ids=["shell", "argv", "missing"],
)
def test_exit_codes_come_back(box: Sandbox, run: Run[Any], command: Any, code: int) -> None:
    result = run(box.exec(command))
    assert (result.status, result.exit_code) == (Status.EXITED, code)


@pytest.mark.parametrize("number", [6, 9, 11, 15], ids=["abrt", "kill", "segv", "term"])
def test_a_signal_is_reported_as_killed(box: Sandbox, run: Run[Any], number: int) -> None:
    result = run(box.exec(f"kill -{number} $$"))
    assert (result.status, result.signal, result.exit_code) == (Status.KILLED, number, None)


def test_an_exception_is_an_exit_with_its_traceback(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.python("def f():\n    raise KeyError('x')\nf()"))
    assert (result.status, result.exit_code) == (Status.EXITED, 1)
    assert "KeyError: 'x'" in result.stderr
    assert "in f" in result.stderr
    assert "agent" not in result.stderr


def test_system_exit_gives_its_code(box: Sandbox, run: Run[Any]) -> None:
    assert run(box.python("raise SystemExit(7)")).exit_code == 7


def test_a_syntax_error_is_an_exit(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.python("def"))
    assert (result.status, "SyntaxError" in result.stderr) == (Status.EXITED, True)


def test_stdin_arrives_whole(box: Sandbox, run: Run[Any]) -> None:
    content = os.urandom(3 << 20)
    result = run(box.exec("wc -c", stdin=content))
    assert result.stdout.strip() == str(len(content))


def test_output_that_is_not_utf8_comes_back_whole(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.exec(r"printf '\377\376\000\200'"))
    assert result.stdout_bytes == b"\xff\xfe\x00\x80"


def test_ten_megabytes_of_output_come_back_whole(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.python("import sys; sys.stdout.write('ab' * (5 << 20))"))
    assert result.status is Status.OK
    assert result.stdout_bytes == b"ab" * (5 << 20)


def test_output_is_cut_at_its_limit(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.exec("yes", limits=Limits(output_bytes=100_000)))
    assert (result.status, len(result.stdout_bytes)) == (Status.OUTPUT_LIMIT, 100_000)


def test_environment_is_minimal_and_can_be_added_to(
    box: Sandbox, run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBX_SECRET", "leaked")
    result = run(box.exec("env", env={"MINE": "1"}))
    assert "MINE=1" in result.stdout.splitlines()
    assert "leaked" not in result.stdout


def test_cwd_is_taken(box: Sandbox, run: Run[Any]) -> None:
    assert run(box.exec("pwd", cwd="/usr")).stdout == "/usr\n"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass",
        "import os,signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "import os,time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "while True: time.sleep(1)",
    ],
    ids=["loop", "stubborn", "stopped", "daemon"],
)
def test_timeout_kills_the_tree(box: Sandbox, run: Run[Any], code: str) -> None:
    started = time.monotonic()
    result = run(box.python(code, limits=Limits(wall_s=0.5)))
    assert result.status is Status.TIMEOUT
    assert time.monotonic() - started < 2.0
    left = run(box.exec("ls /proc | grep -c '^[0-9]' ; ps ax 2>/dev/null | grep -c '[s]etsid'"))
    assert left.status in (Status.OK, Status.EXITED)


def test_cpu_limit_is_a_timeout(box: Sandbox, run: Run[Any]) -> None:
    result = run(box.python("while True: pass", limits=Limits(cpu_s=0.3, wall_s=20)))
    assert result.status is Status.TIMEOUT
    assert result.usage.cpu_s < 5


def test_memory_limit_ends_or_refuses(box: Sandbox, run: Run[Any]) -> None:
    code = "x = [bytearray(b'x' * (64 << 20)) for _ in range(64)]"
    result = run(box.python(code))
    assert result.status is Status.MEMORY or "MemoryError" in result.stderr
    assert run(box.python("print(1)")).stdout == "1\n"


def test_memory_below_what_is_held_is_a_result_and_the_sandbox_goes_on(
    backend: Backend, run: Run[Any]
) -> None:
    if "cgroup-memory" not in backend.isolation.properties:
        return  # there a run's limit counts the run's own processes only

    async def use() -> None:
        async with await backend.create(Limits(disk_mib=100)) as box:
            await box.exec("head -c 80000000 /dev/zero > f")
            low = await box.python("print(1)", limits=Limits(memory_mib=16))
            assert low.status is Status.MEMORY
            if not low.state_lost:  # control groups of version 2 kill what is there
                assert (await box.python("print(1)")).stdout == "1\n"

    run(use())


@pytest.mark.counts_processes
def test_process_limit_holds(box: Sandbox, run: Run[Any]) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n    while n < 500:\n        if os.fork() == 0:\n"
        "            time.sleep(5); os._exit(0)\n        n += 1\nexcept OSError:\n    pass\n"
        "print(n)\nos.kill(0, 9)"
    )
    result = run(box.python(code, limits=Limits(processes=32, wall_s=5)))
    # where memory is sampled (gVisor), forks that share their pages may pass its limit first
    assert result.status in (Status.KILLED, Status.PIDS, Status.TIMEOUT, Status.MEMORY)
    assert run(box.python("print(1)")).stdout == "1\n"


def test_disk_limit_holds_over_many_files(backend: Backend, run: Run[Any]) -> None:
    code = (
        "import errno\nn = 0\ntry:\n    for i in range(100):\n"
        "        with open(f'f{i}', 'wb', 0) as f: n += f.write(b'd' * (1 << 20))\n"
        "except OSError as error:\n    print('full', n >> 20)"
    )

    async def fill() -> Any:
        async with await backend.create(Limits(disk_mib=16)) as sandbox:
            return await sandbox.python(code)

    result = run(fill())
    assert result.stdout.startswith("full") or result.status is not Status.OK


def test_files_persist_between_calls(box: Sandbox, run: Run[Any]) -> None:
    run(box.python("open('note.txt', 'w').write('kept')"))
    assert run(box.exec("cat note.txt")).stdout == "kept"
    assert run(box.read("note.txt")) == b"kept"


def test_write_makes_folders_and_modes(box: Sandbox, run: Run[Any]) -> None:
    run(box.write("a/b/run.sh", b"#!/bin/sh\necho ran\n", mode=0o755))
    assert run(box.exec("a/b/run.sh")).stdout == "ran\n"


def test_upload_and_list(box: Sandbox, run: Run[Any]) -> None:
    run(box.upload({"x/one": b"1", "two": b"22"}))
    entries = run(box.list_files())
    assert [(e.name, e.kind) for e in entries] == [("two", FileKind.FILE)] or [
        (e.name, e.kind) for e in entries
    ] == [("two", FileKind.FILE), ("x", FileKind.DIRECTORY)]
    assert run(box.read("x/one")) == b"1"


@pytest.mark.parametrize(
    ("make", "path", "reason"),
    [
        ("true", "nothing", {"missing"}),
        ("ln -s /etc/passwd f", "f", {"symlink"}),
        ("ln -s /etc/shadow f", "f", {"symlink"}),
        ("mkfifo f", "f", {"not-regular"}),
        ("mkdir f", "f", {"not-regular"}),
        ("true", "/dev/zero", {"not-regular", "denied"}),
        ("truncate -s 50M f", "f", {"too-large"}),
    ],
    ids=["missing", "link", "link-denied", "fifo", "folder", "device", "huge"],
)
def test_reading_what_is_no_small_regular_file_is_refused(
    box: Sandbox, run: Run[Any], make: str, path: str, reason: set[str]
) -> None:
    run(box.exec(make))
    with pytest.raises(SandboxFileError) as caught:
        run(box.read(path, max_bytes=1 << 20))
    assert caught.value.reason in reason


def test_writing_through_a_link_is_refused(box: Sandbox, run: Run[Any]) -> None:
    run(box.exec("ln -s target f"))
    with pytest.raises(SandboxFileError):
        run(box.write("f", b"x"))


def test_shell_keeps_directory_variables_and_functions(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[str]:
        shell = await box.shell()
        await shell.run("mkdir -p deep/er && cd deep/er; export A=1; B=2; f() { echo f$1; }")
        return [(await shell.run(c)).stdout for c in ("basename $PWD", "echo $A$B", "f 3")]

    assert run(use()) == ["er\n", "12\n", "f3\n"]


def test_shell_survives_a_timed_out_command(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[Any]:
        shell = await box.shell()
        await shell.run("A=kept")
        late = await shell.run("sleep 60", limits=Limits(wall_s=0.3))
        return [late, await shell.run("echo $A")]

    late, after = run(use())
    assert late.status is Status.TIMEOUT
    assert (after.stdout, late.state_lost) == ("kept\n", False)


def test_shell_restarts_after_exit(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[Any]:
        shell = await box.shell()
        return [await shell.run("exit 4"), await shell.run("echo again")]

    left, after = run(use())
    assert (left.exit_code, left.state_lost, after.stdout) == (4, True, "again\n")


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("1 / 0", Status.EXITED),
        ("exit(3)", Status.EXITED),
        ("import sys; sys.exit()", Status.OK),
        ("def", Status.EXITED),
        ("while True: pass", Status.TIMEOUT),
        ("import time; time.sleep(60)", Status.TIMEOUT),
    ],
)
def test_python_session_keeps_variables_whatever_a_cell_does(
    box: Sandbox, run: Run[Any], cell: str, status: Status
) -> None:
    async def use() -> list[Any]:
        session = await box.python_session()
        await session.run("x = 41")
        middle = await session.run(cell, limits=Limits(wall_s=0.5))
        return [middle, await session.run("x + 1")]

    middle, after = run(use())
    assert middle.status is status
    assert (after.stdout, after.state_lost) == ("42\n", False)


def test_python_session_says_when_its_variables_are_gone(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[Any]:
        session = await box.python_session()
        await session.run("x = 1")
        return [await session.run("import os; os._exit(5)"), await session.run("print('alive')")]

    died, after = run(use())
    assert (died.state_lost, died.exit_code) == (True, 5)
    assert after.stdout == "alive\n"


def test_background_processes_outlive_a_call_but_not_the_sandbox(
    backend: Backend, run: Run[Any]
) -> None:
    word = "bg" + secrets.token_hex(6)

    async def use() -> Any:
        async with await backend.create(LIMITS) as sandbox:
            await sandbox.exec(f"(while :; do sleep 1; done; : {word}) >/dev/null 2>&1 &")
            return await sandbox.exec(
                f"cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c {word}"
            )

    run(use())
    from tests.sandboxes.abuse import processes_with

    assert processes_with(word) == []


def test_snapshot_and_restore(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> bytes:
        await box.upload({"a": b"1", "d/b": b"2"})
        saved = await box.snapshot()
        await box.exec("rm -rf a d; echo new > c")
        await box.restore(saved)
        assert [entry.name for entry in await box.list_files()] == ["a", "d"]
        return await box.read("d/b")

    assert run(use()) == b"2"


def test_forks_are_independent(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[bytes]:
        await box.write("f", b"base")
        forks = await box.fork(2)
        await forks[0].write("f", b"zero")
        contents = [await one.read("f") for one in (box, *forks)]
        for one in forks:
            await one.close()
        return contents

    assert run(use()) == [b"base", b"zero", b"base"]


def test_forks_keep_what_a_file_is(box: Sandbox, run: Run[Any]) -> None:
    make = (
        "mkdir -p empty d && printf x > d/run && ln -s d/run link && ln d/run hard "
        "&& ln -s /etc/shadow out && printf '' > none && head -c 3000001 /dev/zero > big "
        "&& mkfifo fifo && chmod 750 d/run"
    )
    # By Python: gVisor refuses the statx of coreutils' stat, and an image may lack cksum.
    look = (
        "import os, stat, zlib\nprint('\\n'.join(sorted(os.listdir())))\n"
        "for name in ('d/run', 'hard', 'none', 'big'):\n    about = os.lstat(name)\n"
        "    print(stat.filemode(about.st_mode), about.st_nlink, about.st_size)\n"
        "print(os.readlink('link'), os.readlink('out'), zlib.crc32(open('big', 'rb').read()))"
    )

    async def use() -> list[str]:
        await box.exec(make)
        before = await box.python(look)
        forks = await box.fork(2)
        after = [(await one.python(look)).stdout for one in forks]
        for one in forks:
            await one.close()
        return [before.stdout.replace("fifo\n", ""), *after]

    before, *after = run(use())
    assert "-rwxr-x--- 2 1" in before
    assert after == [before, before]


def test_forks_have_the_same_limits(backend: Backend, run: Run[Any]) -> None:
    fill = "head -c 12000000 /dev/zero > more; sleep 0.2; echo alive"

    async def use() -> list[Any]:
        async with await backend.create(Limits(disk_mib=16, inodes=200)) as sandbox:
            await sandbox.exec("head -c 8000000 /dev/zero > some")
            (one,) = await sandbox.fork()
            async with one:
                return [await one.exec("wc -c < some"), await one.exec(fill)]

    same, filled = run(use())
    assert same.stdout == "8000000\n"
    assert filled.status is not Status.OK or "No space" in filled.stderr


def test_files_too_large_to_copy_make_no_forks(box: Sandbox, run: Run[Any]) -> None:
    if box.isolation.enforced_by["disk"] == "tmpfs":  # elsewhere a sparse file is over the limit
        run(box.exec("truncate -s 60M a b c d"))
        with pytest.raises(SandboxFileError, match="too-large"):
            run(box.fork(2))


def test_runs_of_one_sandbox_may_overlap(box: Sandbox, run: Run[Any]) -> None:
    async def use() -> list[str]:
        results = await asyncio.gather(*(box.python(f"print({i})") for i in range(8)))
        return [result.stdout for result in results]

    assert run(use()) == [f"{i}\n" for i in range(8)]


def test_cancelling_a_run_kills_it_and_the_sandbox_goes_on(box: Sandbox, run: Run[Any]) -> None:
    word = "cx" + secrets.token_hex(6)

    async def use() -> str:
        task = asyncio.ensure_future(box.exec(["/bin/sh", "-c", f"sleep 60; : {word}"]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await box.python("print('on')")).stdout

    assert run(use()) == "on\n"
    from tests.sandboxes.abuse import processes_with

    assert processes_with(word) == []


def test_a_closed_sandbox_is_refused(backend: Backend, run: Run[Any]) -> None:
    sandbox = run(backend.create(LIMITS))
    run(sandbox.close())
    run(sandbox.close())
    with pytest.raises(SandboxClosed):
        run(sandbox.python("1"))


def test_a_program_cannot_fake_a_fault_of_ours(box: Sandbox, run: Run[Any]) -> None:
    code = "import os; os.write(2, b'Traceback (most recent call last)'); os._exit(118)"
    assert run(box.python(code)).status is Status.EXITED


@pytest.mark.counts_processes
def test_full_process_table_is_the_programs_doing(box: Sandbox, run: Run[Any]) -> None:
    code = (
        "import os, time\ntry:\n    while True:\n        if os.fork() == 0:\n"
        "            os.setsid(); time.sleep(60)\nexcept OSError: pass"
    )
    run(box.python(code, limits=Limits(processes=24, wall_s=5)))
    after = run(box.python("print(1)", limits=Limits(processes=24)))
    assert after.status in (Status.OK, Status.PIDS)


def test_isolation_states_facts(backend: Backend) -> None:
    facts = backend.isolation
    assert facts.not_enforced
    assert {"wall", "memory", "disk", "output"} <= facts.enforced_by.keys()
    assert json.loads(json.dumps(facts.as_json()))["tier"] == facts.tier
