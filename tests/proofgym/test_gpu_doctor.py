"""The doctor's GPU part: what it reads, what it finds wrong, and how it says so."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from proofgym.cli.doctor import show_gpu
from proofgym.gpu_doctor import GpuFacts, examine, gather
from proofgym.gpu_doctor.facts import (
    DriverFacts,
    PythonFacts,
    SharedMemory,
    TorchDevice,
    probe_python,
    read_driver,
)
from proofgym.gpu_doctor.nvidia_smi import Gpu, GpuUser, Smi, ask, cuda_of

RECORDED = Path(__file__).parent / "nvidia_smi"


def recorded(folder: Path, name: str) -> str:
    """Make a program that answers as nvidia-smi did where its output was recorded."""
    program = folder / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        f"cd {RECORDED}\n"
        "case $1 in\n"
        f"  --query-gpu=*) cat {name}.gpus.csv;;\n"
        f"  --query-compute-apps=*) cat {name}.users.csv;;\n"
        f"  *) cat {name}.banner.txt;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    return str(program)


def failing(folder: Path, said: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 9\n")
    program.chmod(0o755)
    return str(program)


def test_the_driver_its_gpus_and_their_users_are_read(tmp_path: Path) -> None:
    smi = ask(recorded(tmp_path, "h100"))

    assert smi is not None
    assert (smi.driver, smi.cuda, smi.error) == ("580.95.05", "13.0", "")
    first, second = smi.gpus
    assert (first.name, first.total_mib, first.used_mib) == ("NVIDIA H100 80GB HBM3", 81559, 41230)
    assert first.users == (
        GpuUser(pid=5627, program="/opt/venv/bin/python", used_mib=40970),
        GpuUser(pid=6374, program="VLLM::EngineCore, rank 0", used_mib=None),
    )
    assert second.users == ()


def test_memory_that_is_shared_with_the_cpu_is_not_counted(tmp_path: Path) -> None:
    smi = ask(recorded(tmp_path, "gb10"))

    assert smi is not None
    assert smi.gpus == (Gpu(index=0, name="NVIDIA GB10", total_mib=None, used_mib=None, users=()),)
    assert smi.cuda == "13.3"


def test_what_nvidia_smi_says_in_place_of_an_answer_is_kept(tmp_path: Path) -> None:
    said = (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
    )
    smi = ask(failing(tmp_path, said))

    assert smi is not None
    assert smi.error == said.replace("\n", " ")
    assert ask(str(tmp_path / "absent")) is None
    assert cuda_of("NVIDIA-SMI has failed") == ""


MODULES = {
    "closed": (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Mar  2 22:30:14 UTC 2024\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
        "535.161.08",
    ),
    "open": (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  "
        "(dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025\nGCC version:  gcc 13.3.0\n",
        "580.95.05",
    ),
}


@pytest.mark.parametrize(("text", "version"), MODULES.values(), ids=MODULES)
def test_the_kernels_side_is_read_from_its_files(tmp_path: Path, text: str, version: str) -> None:
    devices = {"gpu": ("0x10de", "0x030200"), "switch": ("0x10de", "0x068000"),
               "other": ("0x1002", "0x030000")}  # fmt: skip
    for name, (vendor, kind) in devices.items():
        folder = tmp_path / "sys/bus/pci/devices" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(text)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()

    assert read_driver(tmp_path) == DriverFacts(on_pci=1, module=version, device_files=("nvidia0",))
    assert read_driver(tmp_path / "absent") == DriverFacts()


def test_this_python_is_asked_in_a_process_of_its_own() -> None:
    import torch

    found = probe_python(sys.executable)
    assert (found.torch, found.cuda) == (torch.__version__, torch.version.cuda)
    assert found.sees_gpu == torch.cuda.is_available()
    assert "could not be asked" in probe_python("/no/python").error


DEVICE = TorchDevice(
    index=0,
    name="NVIDIA H100",
    total_bytes=80 << 30,
    free_bytes=79 << 30,
    capability=(9, 0),
    bf16=True,
)
LEARNER = PythonFacts(
    python="/venv/bin/python",
    torch="2.13.0+cu130",
    cuda="13.0",
    sees_gpu=True,
    kernels=("sm_80", "sm_90", "compute_90"),
    devices=(DEVICE,),
)
SERVER = replace(LEARNER, python="/vllm/bin/python", vllm="0.32.0")
FREE = Gpu(index=0, name="NVIDIA H100", total_mib=81559, used_mib=4, users=())
HEALTHY = GpuFacts(
    driver=DriverFacts(on_pci=1, module="580.95.05", device_files=("nvidia0",)),
    smi=Smi(driver="580.95.05", cuda="13.0", gpus=(FREE,)),
    own=LEARNER,
    server=SERVER,
    shm=SharedMemory(total=64 << 30, free=64 << 30),
)
BLIND: dict[str, Any] = {"sees_gpu": False, "devices": ()}
BLIND_LEARNER = replace(LEARNER, **BLIND)


def test_a_healthy_machine_has_no_findings() -> None:
    assert HEALTHY.has_gpu
    assert examine(HEALTHY) == []


def test_a_machine_without_a_gpu_has_no_faults() -> None:
    cpu = replace(LEARNER, torch="2.13.0+cpu", cuda=None, **BLIND)
    for server in (None, replace(cpu, vllm="0.32.0")):
        facts = GpuFacts(own=cpu, server=server, no_server="no vLLM found")
        assert not facts.has_gpu
        assert examine(facts) == []


FAULTS: dict[str, tuple[GpuFacts, str, str]] = {
    "no driver": (
        GpuFacts(driver=DriverFacts(on_pci=2), own=BLIND_LEARNER),
        "2 NVIDIA GPUs are on the PCI bus, but no driver is loaded",
        "ubuntu-drivers install",
    ),
    "a container without its GPUs": (
        GpuFacts(driver=DriverFacts(on_pci=1, module="580.95.05"), own=BLIND_LEARNER),
        "no GPU has a file in /dev",
        "--gpus all",
    ),
    "an update under the running driver": (
        replace(HEALTHY, own=BLIND_LEARNER, smi=Smi(error="Driver/library version mismatch")),
        "nvidia-smi fails: Driver/library version mismatch",
        "reboot",
    ),
    "a GPU that fell off": (
        replace(HEALTHY, own=BLIND_LEARNER, smi=Smi(error="No devices were found")),
        "No devices were found",
        "xid",
    ),
    "torch without CUDA": (
        replace(HEALTHY, own=replace(LEARNER, torch="2.13.0+cpu", cuda=None, **BLIND)),
        "torch 2.13.0+cpu, a build without CUDA",
        "install --force-reinstall torch==2.13.0 ",
    ),
    "vLLM's CPU build": (
        replace(HEALTHY, server=replace(SERVER, torch="2.13.0+cpu", cuda=None, **BLIND)),
        "vLLM's Python has torch 2.13.0+cpu, a build without CUDA",
        "/vllm/bin/python -m pip install --force-reinstall vllm",
    ),
    "torch that does not load": (
        replace(HEALTHY, own=replace(BLIND_LEARNER, torch=None, error="OSError: libcudart.so.13")),
        "torch of this Python does not load: OSError: libcudart.so.13",
        "proofgym[train]",
    ),
    "an old driver": (
        replace(
            HEALTHY,
            own=BLIND_LEARNER,
            smi=Smi(driver="535.161.08", cuda="12.2", gpus=(FREE,)),
        ),
        "built for CUDA 13.0, which needs a driver of at least 580, and this is 535.161.08",
        "update the driver to 580",
    ),
    "an empty CUDA_VISIBLE_DEVICES": (
        replace(HEALTHY, own=BLIND_LEARNER, visible=""),
        "CUDA_VISIBLE_DEVICES is ''",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "the fabric manager": (
        replace(HEALTHY, own=replace(BLIND_LEARNER, error="Error 802: system not yet initialized")),
        "Error 802",
        "nvidia-fabricmanager",
    ),
    "a GPU that is too old for torch": (
        replace(HEALTHY, own=replace(LEARNER, devices=(replace(DEVICE, capability=(7, 0)),))),
        "no kernels for NVIDIA H100 (compute capability 7.0; it has sm_80",
        "install a torch built for this GPU",
    ),
    "vLLM with another torch": (
        replace(HEALTHY, server=replace(SERVER, torch="2.11.0+cu130")),
        "vLLM 0.32.0 in /vllm/bin/python is built against torch 2.13, and beside it is torch 2.11",
        "pip install 'torch==2.13.*'",
    ),
    "vLLM that is too old": (
        replace(HEALTHY, server=replace(SERVER, vllm="0.19.1")),
        "got '0.19.1'",
        "vllm>=0.26,<0.34",
    ),
}


@pytest.mark.parametrize(("facts", "what", "fix"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_named_with_its_fix(facts: GpuFacts, what: str, fix: str) -> None:
    faults = [finding for finding in examine(facts) if finding.fault]
    assert len(faults) == 1, faults
    assert what in faults[0].what
    assert fix in faults[0].fix
    assert "\n" not in faults[0].what + faults[0].fix


NOTES: dict[str, tuple[GpuFacts, str, str]] = {
    "a GPU in use": (
        replace(
            HEALTHY,
            smi=Smi(gpus=(replace(FREE, used_mib=40960, users=(GpuUser(
                pid=7, program="python", used_mib=None),)),)),
        ),
        "GPU 0: 40.0 of 79.6 GiB are in use by python (process 7)",
        "another GPU",
    ),
    "a small /dev/shm": (
        replace(HEALTHY, shm=SharedMemory(total=64 << 20, free=64 << 20)),
        "/dev/shm holds 64 MiB",
        "--ipc=host",
    ),
    "no vLLM": (
        replace(HEALTHY, server=None, no_server="install vllm"),
        "no vLLM",
        "install vllm",
    ),
    "no bfloat16": (
        replace(
            HEALTHY,
            own=replace(LEARNER, kernels=("sm_75",), devices=(
                replace(DEVICE, capability=(7, 5), bf16=False),)),
        ),
        "(compute capability 7.5) has no bfloat16",
        "float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "what", "fix"), NOTES.values(), ids=NOTES)
def test_what_only_some_runs_need_is_a_note(facts: GpuFacts, what: str, fix: str) -> None:
    (note,) = examine(facts)
    assert not note.fault
    assert what in note.what
    assert fix in note.fix


def test_it_is_shown_to_people_in_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=200, soft_wrap=True)
    facts = replace(HEALTHY, server=replace(SERVER, torch="2.11.0+cu130"))
    show_gpu(facts, examine(facts), console)
    show_gpu(GpuFacts(own=replace(LEARNER, torch=None, cuda=None, **BLIND)), [], console)
    said = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, made above

    assert "driver    580.95.05, runs CUDA up to 13.0" in said
    assert "gpu 0     NVIDIA H100, 79.6 GiB, 0.0 GiB in use" in said
    assert "sees NVIDIA H100 (compute capability 9.0, bfloat16)" in said
    assert "wrong     vLLM 0.32.0 in /vllm/bin/python is built against torch 2.13" in said
    assert "gpu       none on this machine" in said


def test_this_machine_is_read_as_it_is() -> None:
    facts = gather()
    assert json.loads(json.dumps(facts.as_json()))["has_gpu"] == facts.has_gpu
    if not Path("/proc/driver/nvidia").exists():
        assert not facts.driver.module
    assert not [one for one in examine(facts) if one.fault] or facts.has_gpu


@pytest.mark.gpu
def test_a_machine_with_a_gpu_is_healthy() -> None:
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has no NVIDIA GPU")
    facts = gather()
    assert facts.own.sees_gpu
    assert facts.driver_version
