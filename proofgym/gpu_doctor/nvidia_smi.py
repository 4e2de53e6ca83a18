"""What ``nvidia-smi`` says: the driver, its GPUs, and who uses them."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_SECONDS = 30.0
_GPU = "index,uuid,name,memory.total,memory.used,driver_version"
_USER = "gpu_uuid,pid,used_memory,process_name"
_FORMAT = "--format=csv,noheader,nounits"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUser:
    """A process that computes on a GPU; None where the driver does not say how much it holds."""

    pid: int
    program: str
    used_mib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as the driver sees it; MiB are None where its memory is not counted on its own."""

    index: int
    name: str
    total_mib: int | None
    used_mib: int | None
    users: tuple[GpuUser, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smi:
    """What came of asking.

    Args:
        driver: its version; empty without an answer.
        cuda: the newest CUDA that the driver runs, such as 13.0; empty where it does not say.
        error: what ``nvidia-smi`` said in place of an answer; empty where it answered.
    """

    driver: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    error: str = ""


def ask(program: str = "nvidia-smi") -> Smi | None:
    """Ask for everything; None where the program is not installed."""
    try:
        listed = _run(program, f"--query-gpu={_GPU}", _FORMAT)
        if listed.error:
            return Smi(error=listed.error)
        users = _run(program, f"--query-compute-apps={_USER}", _FORMAT)
        banner = _run(program)
    except FileNotFoundError:
        return None
    rows = [row for row in _rows(listed.text, 6) if row[0].isdigit()]
    if not rows:
        return Smi(error=listed.text.strip() or "no devices")
    return Smi(
        driver=rows[0][5],
        cuda=cuda_of(banner.text),
        gpus=tuple(_gpu(row, _rows(users.text, 4)) for row in rows),
    )


def cuda_of(banner: str) -> str:
    """Find the newest CUDA that the driver runs; from driver 610 on the banner words it anew."""
    said = re.search(r"CUDA (?:UMD )?Version\s*: *([0-9]+\.[0-9]+)", banner)
    return said[1] if said else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    text: str
    error: str


def _run(program: str, *arguments: str) -> _Said:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _Said(text="", error=f"it did not answer within {_SECONDS:g} s")
    if done.returncode:
        lines = (done.stdout + done.stderr).split("\n")
        said = " ".join(line.strip() for line in lines if line.strip())
        return _Said(text="", error=said or f"it ended with code {done.returncode}")
    return _Said(text=done.stdout, error="")


def _rows(text: str, columns: int) -> list[list[str]]:
    """Cut lines at their commas; the last column keeps its own."""
    cut = [line.split(",", columns - 1) for line in text.splitlines()]
    return [[word.strip() for word in row] for row in cut if len(row) == columns]


def _gpu(row: Sequence[str], users: Sequence[Sequence[str]]) -> Gpu:
    return Gpu(
        index=int(row[0]),
        name=row[2],
        total_mib=_number(row[3]),
        used_mib=_number(row[4]),
        users=tuple(
            GpuUser(pid=int(pid), program=program, used_mib=_number(used))
            for uuid, pid, used, program in users
            if uuid == row[1] and pid.isdigit()
        ),
    )


def _number(word: str) -> int | None:
    """Read a number; ``[N/A]`` and ``[Not Supported]`` are none."""
    return int(word) if word.isdigit() else None
