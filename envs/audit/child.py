"""The process in which an environment is attacked: it may hang, exit or be killed."""

import asyncio
import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proofgym.envs.audit.canary import Canary
from proofgym.envs.audit.ground import ground
from proofgym.envs.audit.journal import Journal
from proofgym.envs.audit.probes.registry import PROBES
from proofgym.envs.registry import environment_class

MEMORY_BYTES, FILE_BYTES = 8 << 30, 256 << 20


async def attack(request: dict[str, Any], journal: Journal) -> None:
    """Run the probes that are asked for."""
    cls = environment_class(request["env"])
    journal.note(env_id=cls.id, version=cls.version, waivers=dict(cls.audit_waivers))
    journal.begin("contract.episode/tasks/0")
    field = ground(cls, journal, Canary(Path(request["folder"])))
    journal.note(reach=asdict(field.reach))
    for number, name in enumerate(request["probes"]):
        journal.share(len(request["probes"]) - number)
        try:
            await PROBES[name](field)
        except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
            told = f"the {name} probe met {type(error).__name__}: {error}"
            journal.record("contract.episode", told)
    journal.note(finished=not journal.cut)


def main() -> None:
    """Read a request from standard input; write events to the pipe that it names."""
    request = json.load(sys.stdin)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    journal = Journal(
        request["pipe"],
        skip=request["skip"],
        until=time.monotonic() + request["budget_s"],
    )
    try:
        asyncio.run(attack(request, journal))
    except Exception as error:  # noqa: BLE001  # told to the parent, which decides
        journal.note(broken=f"{type(error).__name__}: {error}")
    journal.note(left=True)
    os._exit(0)  # threads of the environment must not hold the process


if __name__ == "__main__":
    main()
