"""What there is on a machine: driver, GPUs, torch, vLLM, shared memory. Nothing is judged here."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine import LaunchConfig
from proofgym.agents.vllm_engine.launch import find_python
from proofgym.gpu_doctor.nvidia_smi import Smi, ask

_PROBE = Path(__file__).parent / "python_probe.py"
_PROBE_SECONDS = 120.0
_NVIDIA = "0x10de"  # as a maker of PCI devices; https://pcisig.com


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDevice:
    """A GPU as torch sees it."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]
    bf16: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFacts:
    """One Python's torch and vLLM.

    Args:
        python: its path.
        torch, vllm: versions; None where they are not installed.
        cuda: that torch was built for; None for a build without it.
        sees_gpu: whether torch can compute on one.
        error: what torch said when it could not; or why the Python did not answer.
        kernels: the architectures that torch was built for, such as sm_90.
    """

    python: str
    torch: str | None = None
    cuda: str | None = None
    sees_gpu: bool = False
    error: str = ""
    kernels: tuple[str, ...] = ()
    devices: tuple[TorchDevice, ...] = ()
    vllm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFacts:
    """The kernel's side.

    Args:
        on_pci: NVIDIA display and 3D controllers on the PCI bus.
        module: the version of the kernel module that is loaded; empty: none.
        device_files: GPUs that have a file in /dev, such as nvidia0.
    """

    on_pci: int = 0
    module: str = ""
    device_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """What /dev/shm holds; bytes."""

    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """All of it.

    Args:
        driver: the kernel's side.
        smi: what nvidia-smi says; None where it is not installed.
        visible: the variable CUDA_VISIBLE_DEVICES; None where it is not set.
        own: this Python's, which is the learner's.
        server: vLLM's Python, which may be the same one; None where there is none.
        no_server: why there is none.
        shm: None where there is no /dev/shm.
    """

    driver: DriverFacts = DriverFacts()
    smi: Smi | None = None
    visible: str | None = None
    own: PythonFacts
    server: PythonFacts | None = None
    no_server: str = ""
    shm: SharedMemory | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether anything here points to an NVIDIA GPU."""
        listed = self.smi is not None and bool(self.smi.gpus)
        return bool(listed or self.driver.on_pci or self.driver.device_files or self.own.devices)

    @property
    def driver_version(self) -> str:
        """The driver's; empty where there is none."""
        return (self.smi.driver if self.smi is not None else "") or self.driver.module

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"has_gpu": self.has_gpu, "driver_version": self.driver_version, **asdict(self)}


def gather() -> GpuFacts:
    """Look around; loads no torch into this process."""
    reason = ""
    server: str | None = None
    try:
        server = find_python(LaunchConfig())
    except EngineError as error:
        reason = str(error)
    other = server is not None and server != sys.executable
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(probe_python, server) if other and server is not None else None
        own = probe_python(sys.executable)
        answered = asked.result() if asked is not None else None
    return GpuFacts(
        driver=read_driver(),
        smi=ask(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        own=own,
        server=answered or (own if server is not None else None),
        no_server=reason,
        shm=_shared_memory(),
    )


def probe_python(python: str) -> PythonFacts:
    """Ask a Python about its torch and vLLM; a failure is in the result."""
    try:
        done = subprocess.run(
            [python, str(_PROBE)], capture_output=True, text=True, timeout=_PROBE_SECONDS
        )
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return PythonFacts(python=python, error=f"torch did not answer within {_PROBE_SECONDS:g} s")
    except (OSError, IndexError, ValueError) as error:
        return PythonFacts(python=python, error=f"it could not be asked: {error}")
    devices = tuple(
        TorchDevice(**{**one, "capability": tuple(one["capability"])}) for one in said["devices"]
    )
    return PythonFacts(**{**said, "kernels": tuple(said["kernels"]), "devices": devices})


def read_driver(root: Path = Path("/")) -> DriverFacts:
    """Read what the kernel shows of NVIDIA GPUs below a root folder."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text()
    except OSError:
        text = ""
    module = re.search(r"Kernel Module[^\n]*?\s([0-9]+(?:\.[0-9]+)+)\s", text)
    numbered = sorted(path.name for path in (root / "dev").glob("nvidia[0-9]*"))
    return DriverFacts(
        on_pci=sum(map(_is_gpu, (root / "sys/bus/pci/devices").glob("*"))),
        module=module[1] if module else "",
        device_files=tuple(numbered),
    )


def _is_gpu(device: Path) -> bool:
    """Tell NVIDIA's display (0x0300) and 3D (0x0302) controllers from its other PCI devices."""
    try:
        maker, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
    except OSError:
        return False
    return maker == _NVIDIA and kind.startswith("0x03")


def _shared_memory() -> SharedMemory | None:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return None
    return SharedMemory(total=usage.total, free=usage.free)
