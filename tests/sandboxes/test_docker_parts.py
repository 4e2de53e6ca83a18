"""The docker backend's parts that need no daemon: profile, stream splitting, ownership."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.sandboxes import SandboxUnavailable, select_backend
from proofgym.sandboxes.docker.backend import DockerBackend, DockerConfig
from proofgym.sandboxes.docker.image import libraries
from proofgym.sandboxes.docker.owner import OWNER_LABEL, Owner, abandoned
from proofgym.sandboxes.docker.profile import all_but, profile
from proofgym.sandboxes.docker.wire import StreamSplitter
from proofgym.sandboxes.kernel.syscall_table import AARCH64, X86_64
from proofgym.sandboxes.selection import AUTOMATIC, backend_named

TABLES = {"x86_64": X86_64, "aarch64": AARCH64}
ME = Owner.this_process()


def allowed(machine: str, name: str, *arguments: int) -> bool:
    """Judge a call as libseccomp would: one rule that matches is enough."""
    for rule in json.loads(profile(machine))["syscalls"]:
        if name in rule["names"] and all(
            (arguments[a["index"]] if a["index"] < len(arguments) else 0) & a["value"]
            == a["valueTwo"]
            for a in rule.get("args", ())
        ):
            return bool(rule["action"] == "SCMP_ACT_ALLOW")
    return False


@pytest.fixture(params=sorted(TABLES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_profile_names_exactly_the_allow_list(machine: str) -> None:
    written = json.loads(profile(machine))
    names = {name for rule in written["syscalls"] for name in rule["names"]}
    assert names == TABLES[machine].keys() | {"clone3"}
    assert written["defaultAction"] == "SCMP_ACT_ERRNO"
    assert len(written["architectures"]) == 1  # no i386, no x32


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("mount",), False), (("unshare", 0x10000000), False), (("clone3",), False),
        (("clone", 0x3D0F00), True), (("clone", 0x10000000 | 17), False),
        (("socket", 1, 1), True), (("socket", 2, 0x80002), True), (("socket", 2, 3), False),
        (("socket", 40, 1), False), (("socket", 16, 3), False), (("socket", 17, 3), False),
        (("ioctl", 0, 0x5401), True), (("ioctl", 0, 0x5412), False), (("ioctl", 0, 0x541C), False),
        (("ioctl", 0, 0x1_0000_5412), False), (("prlimit64", 0), True), (("prlimit64", 1), False),
        (("personality", 0xFFFFFFFF), True), (("personality", 0x40000), False),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_arguments_decide_as_in_our_own_filter(
    machine: str, call: tuple[Any, ...], expected: bool
) -> None:
    assert allowed(machine, *call) is expected


@settings(deadline=None)
@given(st.sets(st.integers(0, 255), min_size=1, max_size=3), st.integers(0, 255))
def test_all_but_covers_every_other_word_once(refused: set[int], word: int) -> None:
    hits = [pair for pair in all_but(tuple(refused), bits=8) if word & pair[1] == pair[0]]
    assert len(hits) == (0 if word in refused else 1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
)
def test_streams_are_taken_apart_however_they_are_cut(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(struct.pack("!BxxxI", kind, len(piece)) + piece for kind, piece in frames)
    seen = bytearray()
    splitter = StreamSplitter(seen.extend)
    at = 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        splitter.take(data[at : at + size])
        at += size
    assert bytes(seen) == b"".join(piece for kind, piece in frames if kind == 1)
    expected = b"".join(piece for kind, piece in frames if kind == 2)
    assert splitter.errors == expected.decode(errors="replace").strip()


def gone() -> Owner:
    """Describe a process that has ended; its number may be in use again, its start is not."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], text=True,
                          capture_output=True, check=True)  # fmt: skip
    return dataclasses.replace(ME, pid=int(done.stdout), started=ME.started + 1)


@pytest.mark.parametrize(
    ("owner", "ended", "expected"),
    [
        (ME, False, False),
        (ME, True, False),
        (gone(), False, True),
        (dataclasses.replace(ME, started=ME.started - 1), False, True),
        (dataclasses.replace(gone(), namespace="pid:[1]"), False, False),
        (dataclasses.replace(ME, boot="other"), False, False),
        (dataclasses.replace(ME, boot="other"), True, True),
    ],
    ids=["mine", "mine-ended", "dead", "number-reused", "other-namespace", "other-machine",
         "before-a-reboot"],
)  # fmt: skip
def test_only_what_is_surely_nobodys_is_abandoned(
    owner: Owner, ended: bool, expected: bool
) -> None:
    assert Owner.parse(owner.label()) == owner
    assert abandoned({OWNER_LABEL: owner.label()}, ended=ended, me=ME) is expected


@pytest.mark.parametrize("label", ["", "a b c", "a b c d", "a b 1 x", "a b 1 2 3"])
def test_labels_of_others_are_left_alone(label: str) -> None:
    assert not abandoned({OWNER_LABEL: label}, ended=True, me=ME)


def test_a_missing_daemon_names_its_place_and_the_remedy(tmp_path: Path) -> None:
    backend = DockerBackend(DockerConfig(host=f"unix://{tmp_path}/none.sock"))
    with pytest.raises(SandboxUnavailable, match=r"none\.sock.*Start dockerd"):
        asyncio.run(backend.start())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    monkeypatch.delitem(sys.modules, "proofgym.sandboxes.docker.daemon", raising=False)
    with pytest.raises(SandboxUnavailable, match=r"proofgym\[docker\]"):
        asyncio.run(select_backend("docker"))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("docker", DockerConfig()),
        ("docker+runsc", DockerConfig(runtime="runsc")),
        ("docker:host:5000/python:3", DockerConfig(image="host:5000/python:3")),
        ("docker+runsc:python:3", DockerConfig(runtime="runsc", image="python:3")),
    ],
)
def test_a_name_may_carry_runtime_and_image(name: str, config: DockerConfig) -> None:
    backend = backend_named(name)
    assert isinstance(backend, DockerBackend)
    assert backend.config == config


def test_docker_is_never_chosen_automatically() -> None:
    assert not any("docker" in name for name in AUTOMATIC)


@pytest.mark.parametrize("name", ["docker:", "ns:python:3", "docker+nonesuch", "docker+kata:x"])
def test_other_words_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        backend_named(name)


def test_libraries_of_a_binary_are_found_with_its_loader() -> None:
    found = {os.path.basename(path) for path in libraries(os.path.realpath("/bin/sh"))}
    assert "libc.so.6" in found
    assert any(name.startswith("ld-") for name in found)
