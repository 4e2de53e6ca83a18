"""From the facts about a machine: what is wrong, and what helps, in one line each."""

import re
from dataclasses import dataclass

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.server_version import check_version
from proofgym.gpu_doctor.facts import GpuFacts, PythonFacts, TorchDevice

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""The oldest driver for a CUDA of each major version.

Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility":
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""

PAIRS = (((0, 20), (0, 26), "2.11"), ((0, 27), (0, 32), "2.13"), ((0, 33), (0, 33), "2.14"))
"""The first and the last vLLM, and the torch that its wheels are built against (their metadata)."""

SMALL_SHM = 1 << 30
BUSY_FRACTION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know.

    Args:
        what: is wrong.
        fix: what helps; one line.
        fault: whether GPU work fails by it; else it costs speed, or only some settings.
    """

    what: str
    fix: str
    fault: bool = True


def examine(facts: GpuFacts) -> list[Finding]:
    """Judge a machine. One without a GPU is no fault: training on the CPU is what is left."""
    server = facts.server
    found: list[Finding] = []
    if facts.has_gpu:
        found += _driver(facts)
        below = bool(found)
        found += _torch(facts, facts.own, "this Python", below=below)
        found += _memory(facts)
        found += _shm(facts)
        if server is not None and server is not facts.own:
            found += _torch(facts, server, "vLLM's Python", below=below)
        if server is None:
            found.append(Finding(what="there is no vLLM here", fix=facts.no_server, fault=False))
    if server is not None and server.vllm is not None:
        found += _pairing(server)
    return found


def _driver(facts: GpuFacts) -> list[Finding]:
    driver, smi = facts.driver, facts.smi
    if facts.own.sees_gpu or (smi is not None and smi.gpus):
        return []
    if not driver.module:
        return [
            Finding(
                what=f"{driver.on_pci} NVIDIA GPUs are on the PCI bus, but no driver is loaded",
                fix="install one (Ubuntu: sudo ubuntu-drivers install --gpgpu; then reboot); if it "
                "is installed: sudo modprobe nvidia, and see dmesg",
            )
        ]
    if not driver.device_files:
        return [
            Finding(
                what=f"driver {driver.module} is loaded, but no GPU has a file in /dev",
                fix="in a container: start it with --gpus all (nvidia-container-toolkit on the "
                "host); else: sudo nvidia-modprobe -c 0 -u",
            )
        ]
    if smi is None:
        return []
    return [Finding(what=f"nvidia-smi fails: {smi.error}", fix=_smi_fix(smi.error))]


def _smi_fix(error: str) -> str:
    if "mismatch" in error:
        return "the driver was updated under the running module: reboot"
    if "Unknown Error" in error:
        return "the container lost its GPUs (the host reloaded its cgroups): restart the container"
    if "No devices" in error:
        return "the driver found no GPU that works: see sudo dmesg | grep -i -e nvrm -e xid"
    return (
        "sudo modprobe nvidia, and see dmesg; after an update of the kernel, reinstall the driver"
    )


def _torch(facts: GpuFacts, python: PythonFacts, who: str, *, below: bool) -> list[Finding]:
    """Judge a Python's torch; ``below``: the driver has faults, which say enough."""
    if python.torch is None:
        fix = f"{python.python} -m pip install 'proofgym[train]'"
        if python.error:
            return [Finding(what=f"torch of {who} does not load: {python.error}", fix=fix)]
        return [Finding(what=f"{who} has no torch", fix=fix, fault=False)]
    if python.cuda is None:
        version = python.torch.partition("+")[0]
        package = "vllm" if who.startswith("vLLM") else f"torch=={version}"
        return [
            Finding(
                what=f"{who} has torch {python.torch}, a build without CUDA",
                fix=f"{python.python} -m pip install --force-reinstall {package} (PyPI's has CUDA)",
            )
        ]
    if not python.sees_gpu:
        return [] if below else [_unseen(facts, python, who)]
    found = []
    for device in python.devices:
        found += _device(python, device, who)
    return found


def _unseen(facts: GpuFacts, python: PythonFacts, who: str) -> Finding:
    """Say why a build with CUDA sees no GPU."""
    assert python.cuda is not None, "the caller looked"
    said = f" ({python.error})" if python.error else ""
    what = f"torch {python.torch} of {who} sees no GPU{said}"
    if facts.visible is not None and facts.visible.strip() in ("", "-1"):
        return Finding(what=f"{what}: CUDA_VISIBLE_DEVICES is {facts.visible!r}",
                       fix="unset CUDA_VISIBLE_DEVICES, or name a GPU such as 0")  # fmt: skip
    major = int(python.cuda.partition(".")[0])
    driver = facts.driver_version
    needed = OLDEST_DRIVER.get(major, 0)
    if driver and int(driver.partition(".")[0]) < needed:
        return Finding(
            what=f"torch {python.torch} of {who} is built for CUDA {python.cuda}, which needs a "
            f"driver of at least {needed}, and this is {driver}",
            fix=f"update the driver to {needed} or later; or install torch for an older CUDA: "
            "https://pytorch.org/get-started/previous-versions",
        )
    if "802" in python.error or "not yet initialized" in python.error:
        return Finding(what=what, fix="sudo systemctl start nvidia-fabricmanager (of the driver's "
                       "own version)")  # fmt: skip
    fix = "sudo nvidia-modprobe -u -c 0 (makes /dev/nvidia-uvm); in a container: restart it"
    return Finding(what=what, fix=fix)


def _device(python: PythonFacts, device: TorchDevice, who: str) -> list[Finding]:
    found = []
    major, minor = device.capability
    if python.kernels and not _runs_on(python.kernels, device.capability):
        found.append(
            Finding(
                what=f"torch {python.torch} of {who} has no kernels for {device.name} (compute "
                f"capability {major}.{minor}; it has {', '.join(python.kernels)})",
                fix="install a torch built for this GPU: https://pytorch.org/get-started/locally",
            )
        )
    if not device.bf16:
        found.append(
            Finding(
                what=f"{device.name} (compute capability {major}.{minor}) has no bfloat16",
                fix="learner.compute_dtype = 'float32' and engine.launch.dtype = 'float32'",
                fault=False,
            )
        )
    return found


def _runs_on(kernels: tuple[str, ...], capability: tuple[int, int]) -> bool:
    """Tell whether machine code of the same generation, or portable code, is among the kernels.

    Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
    """
    for kernel in kernels:
        named = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", kernel)
        if named is None:
            continue
        built = (int(named[2]), int(named[3]))
        if built <= capability and (named[1] == "compute" or built[0] == capability[0]):
            return True
    return False


def _memory(facts: GpuFacts) -> list[Finding]:
    found = []
    for gpu in facts.smi.gpus if facts.smi is not None else ():
        if gpu.total_mib is None or gpu.used_mib is None:
            continue
        if gpu.used_mib <= BUSY_FRACTION * gpu.total_mib:
            continue
        who = ", ".join(f"{user.program} (process {user.pid})" for user in gpu.users)
        found.append(
            Finding(
                what=f"GPU {gpu.index}: {gpu.used_mib / 1024:.1f} of {gpu.total_mib / 1024:.1f} "
                f"GiB are in use by {who or 'processes that cannot be seen from here'}",
                fix="end them, or take another GPU: device = 'cuda:1', engine.launch.gpus = [1]",
                fault=False,
            )
        )
    return found


def _shm(facts: GpuFacts) -> list[Finding]:
    if facts.shm is not None and facts.shm.total >= SMALL_SHM:
        return []
    size = "does not exist" if facts.shm is None else f"holds {facts.shm.total / 2**20:.0f} MiB"
    return [
        Finding(
            what=f"/dev/shm {size}; engine.transfer = 'shm' puts all weights there (2 bytes each "
            "in bfloat16), and NCCL its buffers",
            fix="docker run --ipc=host or --shm-size=16g; else: mount -o remount,size=16G /dev/shm",
            fault=False,
        )
    ]


def _pairing(server: PythonFacts) -> list[Finding]:
    """Check vLLM's version, and that its torch is the one it was built against."""
    assert server.vllm is not None, "the caller looked"
    found = []
    try:
        check_version(server.vllm, allow_untested=False)
    except EngineError as error:
        found.append(Finding(what=str(error).partition(". Install")[0],
                             fix=f"{server.python} -m pip install 'vllm>=0.26,<0.34'"))  # fmt: skip
    said = re.match(r"(\d+)\.(\d+)", server.vllm)
    version = (int(said[1]), int(said[2])) if said else (0, 0)
    needed = next((torch for first, last, torch in PAIRS if first <= version <= last), None)
    if needed is None or (server.torch or "").startswith(f"{needed}."):
        return found
    has = f"torch {server.torch}" if server.torch else "no torch"
    return [*found, Finding(
        what=f"vLLM {server.vllm} in {server.python} is built against torch {needed}, and beside "
        f"it is {has}",
        fix=f"{server.python} -m pip install 'torch=={needed}.*', in a Python of vLLM's own where "
        "the learner needs another (engine.launch.python)",
    )]  # fmt: skip
