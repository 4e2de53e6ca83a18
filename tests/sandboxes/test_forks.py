"""How ns copies a sandbox into its forks: one copy in the kernel, and only files get across."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes.errors import SandboxFileError, SandboxLost
from proofgym.sandboxes.ns import tree_copy
from proofgym.sandboxes.ns.backend import NsBackend
from proofgym.sandboxes.ns.tree_copy import DEEPEST, Refused, TreeCopy
from proofgym.sandboxes.protocol import Limits
from tests.sandboxes.conftest import Run


def copy(source: Path, target: Path, room: int = 1 << 20) -> None:
    """Copy as a new sandbox does, from a descriptor of the path only."""
    target.mkdir(exist_ok=True)
    from_fd = os.open(source, os.O_PATH)
    to_fd = os.open(target, os.O_RDONLY)
    try:
        TreeCopy(room).run(from_fd, to_fd)
    finally:
        os.close(from_fd)
        os.close(to_fd)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_a_copy_keeps_modes_times_links_and_names(source: Path, tmp_path: Path) -> None:
    (source / "d" / "empty").mkdir(parents=True)
    (source / "d" / "run").write_bytes(b"x" * 70_000)
    (source / "d" / "run").chmod(0o4750)
    os.utime(source / "d" / "run", ns=(1_500_000_000_000_000_001, 1_600_000_000_000_000_002))
    os.link(source / "d" / "run", source / "z")
    os.symlink("/etc/shadow", source / "out")
    os.mkfifo(source / "fifo")
    (source / os.fsdecode(b"\xff")).write_bytes(b"odd")
    (source / "d").chmod(0o700)
    os.utime(source / "d", ns=(1, 2))
    copy(source, tmp_path / "copy")
    made = tmp_path / "copy"
    assert sorted(os.listdir(os.fsencode(made))) == [b"d", b"out", b"z", b"\xff"]
    assert os.readlink(made / "out") == "/etc/shadow"
    about, other = (made / "d" / "run").stat(), (made / "z").stat()
    assert (about.st_ino, about.st_nlink) == (other.st_ino, 2)
    assert (about.st_mode & 0o7777, about.st_mtime_ns) == (0o4750, 1_600_000_000_000_000_002)
    assert (made / "z").read_bytes() == b"x" * 70_000
    assert ((made / "d").stat().st_mode & 0o7777, (made / "d").stat().st_mtime_ns) == (0o700, 2)
    assert list((made / "d" / "empty").iterdir()) == []


def test_holes_count_so_that_no_copy_is_larger_than_its_disk(source: Path, tmp_path: Path) -> None:
    for name in "ab":
        with open(source / name, "wb") as file:
            file.truncate(600_000)
    with pytest.raises(Refused, match="more bytes"):
        copy(source, tmp_path / "copy")


def test_hard_links_count_once(source: Path, tmp_path: Path) -> None:
    (source / "0").write_bytes(b"x" * 600_000)
    for i in range(1, 9):
        os.link(source / "0", source / str(i))
    copy(source, tmp_path / "copy")
    assert len({path.stat().st_ino for path in (tmp_path / "copy").iterdir()}) == 1


def test_folders_too_deep_are_refused(source: Path, tmp_path: Path) -> None:
    (source / "/".join("a" * (DEEPEST + 2))).mkdir(parents=True)
    with pytest.raises(Refused, match="within each other"):
        copy(source, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_becomes_a_link_meanwhile_is_not_followed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    victim = source / "victim"
    victim.mkdir() if kind == "folder" else victim.write_text("plain")
    look = os.stat

    def swap_after_the_look(path: Any, **options: Any) -> os.stat_result:
        about = look(path, **options)
        if path == "victim":
            victim.rmdir() if kind == "folder" else victim.unlink()
            victim.symlink_to(outside if kind == "folder" else outside / "secret")
        return about

    monkeypatch.setattr(tree_copy.os, "stat", swap_after_the_look)
    with pytest.raises(Refused):
        copy(source, tmp_path / "copy")
    monkeypatch.undo()
    assert all("secret" not in path.name for path in (tmp_path / "copy").rglob("*"))


def test_files_that_change_under_the_copy_never_hang_it(source: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for i in range(20):
                path = source / f"{i}"
                path.write_bytes(b"x" * 100)
                path.unlink()
                os.mkfifo(path)
                path.unlink()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for i in range(20):
            copy(source, tmp_path / f"copy{i}")
    finally:
        stop.set()
        churning.join()


@pytest.fixture(scope="module")
def run() -> Iterator[Run[Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def ns(run: Run[Any]) -> Iterator[NsBackend]:
    backend = NsBackend()
    run(backend.start())
    yield backend
    run(backend.close())


@pytest.mark.namespaces
def test_a_fork_holds_nothing_of_its_source_but_the_files(ns: NsBackend, run: Run[Any]) -> None:
    look = (
        "import os; print(os.listdir('/proc/self/fd'), "
        "open('/proc/self/mountinfo').read().count('/workspace '))"
    )

    async def use() -> tuple[str, str, str]:
        async with await ns.create(Limits()) as box:
            await box.write("f", b"base")
            plain = await box.python(look)
            (one,) = await box.fork()
            async with one:
                forked = await one.python(look)
                await box.write("later", b"")
                return plain.stdout, forked.stdout, (await one.exec("ls")).stdout

    plain, forked, names = run(use())
    assert plain == forked != ""
    assert names == "f\n"


@pytest.mark.namespaces
def test_forks_and_their_refusals_leak_no_descriptor_and_no_slot(
    ns: NsBackend, run: Run[Any]
) -> None:
    async def use() -> int:
        async with await ns.create(Limits(disk_mib=16)) as box:
            await box.exec("truncate -s 15M a b")
            with pytest.raises(SandboxFileError, match="too-large"):
                await box.fork()
            await box.exec("rm a")
            for one in await box.fork(2):
                await one.close()
        return len(os.listdir("/proc/self/fd"))

    first, slots = run(use()), len(ns._slots)
    assert (run(use()), len(ns._slots)) == (first, slots)


@pytest.mark.namespaces
def test_where_no_view_is_given_an_archive_makes_the_same_forks(
    ns: NsBackend, run: Run[Any]
) -> None:
    async def use() -> bytes:
        async with await ns.create(Limits()) as box:
            await box.write("d/f", b"base")
            assert box._twin is not None
            box._twin = None
            (one,) = await box.fork()
            async with one:
                return await one.read("d/f")

    assert run(use()) == b"base"


@pytest.mark.namespaces
def test_the_files_of_a_dead_sandbox_are_not_forked(ns: NsBackend, run: Run[Any]) -> None:
    async def use() -> None:
        box = await ns.create(Limits())
        box._client.lost("its host died")
        with pytest.raises(SandboxLost, match="its host died"):
            await box.fork()
        await box.close()

    run(use())
