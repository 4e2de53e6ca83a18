"""Delete what killed host processes left. Mounts and processes end with their namespaces."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from proofgym.sandboxes.cgroups import find_root, sweep
from proofgym.sandboxes.errors import SandboxError
from proofgym.sandboxes.folder_agent import FOLDER

_NAME = re.compile(re.escape(FOLDER) + r"[a-z-]+-(\d+)-\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What was deleted. `docker` is why containers could not be looked at; empty if they were."""

    cgroups: int
    folders: int
    containers: int
    docker: str = ""


def abandoned_folders() -> list[Path]:
    """Find sandboxes' folders of ours whose host process is gone."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        match = _NAME.fullmatch(path.name)
        about = path.lstat()
        ours = os.geteuid() in (0, about.st_uid)
        gone = match is not None and not Path(f"/proc/{match[1]}").exists()
        if gone and ours and stat.S_ISDIR(about.st_mode):
            found.append(path)
    return found


async def clean_sandboxes() -> Cleaned:
    """Delete cgroups, folders and containers whose host process is gone.

    What belongs to a process that lives, or may live on another machine, stays.
    """
    root = find_root()
    cgroups = sweep(root) if root is not None else 0
    folders = abandoned_folders()
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    containers, docker = 0, ""
    try:
        from proofgym.sandboxes.docker.daemon import clean

        containers = await clean()
    except (ModuleNotFoundError, SandboxError) as error:
        docker = str(error)
    return Cleaned(cgroups=cgroups, folders=len(folders), containers=containers, docker=docker)
