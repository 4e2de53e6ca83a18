"""Choose a backend: the safest that works here, or exactly the one that was named."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable

from proofgym.sandboxes.errors import SandboxUnavailable
from proofgym.sandboxes.protocol import Backend, Isolation

logger = logging.getLogger(__name__)

REMEDIES = (
    "On Ubuntu 24.04 and later: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or an "
    "AppArmor profile with `userns,` for this Python. In a container: `--security-opt "
    "seccomp=unconfined --security-opt systempaths=unconfined`. In Kubernetes: `hostUsers: false` "
    "with `procMount: Unmasked`."
)
# What `require=` can ask for -> how to get it.
REQUIREMENTS = {
    "vm": "no backend here starts virtual machines: run the whole host process in one, or name "
    "docker with a runtime that does (Kata Containers)",
    "gvisor": 'name docker with runtime="runsc" and install gVisor\'s runsc',
    "cgroup-memory": "run as root, or in a delegated cgroup (`systemd-run --user --scope -p "
    "Delegate=yes`), or name docker",
    "pid-namespace": "use ns or docker: where namespaces are refused, landlock has none",
}
AUTOMATIC = ("ns", "landlock")


def _ns(_: bool) -> Backend:
    from proofgym.sandboxes.ns.backend import NsBackend

    return NsBackend()


def _landlock(_: bool) -> Backend:
    from proofgym.sandboxes.landlock.backend import LandlockBackend

    return LandlockBackend()


def _docker(runtime: str, image: str) -> Backend:
    from proofgym.sandboxes.docker.backend import DockerBackend, DockerConfig

    return DockerBackend(DockerConfig(runtime=runtime, image=image))


def _unsafe_local(trusted: bool) -> Backend:
    from proofgym.sandboxes.unsafe_local import UnsafeLocalBackend

    return UnsafeLocalBackend(i_trust_this_code=trusted)


# Name -> what makes it, given the word of trust. Imported when asked for.
_BACKENDS: dict[str, Callable[[bool], Backend]] = {
    "ns": _ns, "landlock": _landlock, "docker": lambda _: _docker("", ""),
    "docker+runsc": lambda _: _docker("runsc", ""), "unsafe-local": _unsafe_local,
}  # fmt: skip


def backend_named(name: str, *, i_trust_this_code: bool = False) -> Backend:
    """Make a backend with its default settings; it is not started.

    Args:
        name: one of the list; docker's may be followed by ":IMAGE", as in
            "docker:python:3.13-slim", for any image that has Python.

    Raises:
        ValueError: there is no such backend.
        SandboxUnavailable: it cannot be made here, or only with a word that was not given.
    """
    kind, _, image = name.partition(":")
    if image and kind in ("docker", "docker+runsc"):
        return _docker(kind.partition("+")[2], image)
    if name not in _BACKENDS:
        raise ValueError(
            f"sandbox backend must be one of auto, {', '.join(_BACKENDS)}; got {name!r}."
        )
    return _BACKENDS[name](i_trust_this_code)


async def select_backend(
    name: str | Backend = "auto", *, require: Iterable[str] = (), i_trust_this_code: bool = False
) -> Backend:
    """Start a backend and return it.

    Args:
        name: "auto" is ns, else landlock where that holds, else an error. Any other name is that
            backend or an error; nothing named is ever replaced by something weaker. A backend
            that you made, such as HttpBackend or one with settings, is started and checked.
        require: properties that must hold here: vm, gvisor, cgroup-memory, pid-namespace.
        i_trust_this_code: the word without which "unsafe-local" is refused; no other backend
            looks at it, and "auto" never chooses that one.

    Raises:
        SandboxUnavailable: nothing asked for works here; the message says why and what helps.
        SandboxLost, SandboxTimeout: one works here, but could not start now.
        ValueError: there is no such backend or property.
    """
    wanted = frozenset(require)
    unknown = wanted - REQUIREMENTS.keys()
    if unknown:
        raise ValueError(f"require must be among {sorted(REQUIREMENTS)}, got {sorted(unknown)}.")
    reasons: list[str] = []
    lacking: set[str] = set()
    for candidate in AUTOMATIC if name == "auto" else (name,):
        backend = (
            backend_named(candidate, i_trust_this_code=i_trust_this_code)
            if isinstance(candidate, str)
            else candidate
        )
        try:
            await backend.start()
        except SandboxUnavailable as error:
            reasons.append(str(error))
            await backend.close()
            continue
        except BaseException:  # the host is full for now: no reason to take a weaker one
            await backend.close()
            raise
        missing = wanted - backend.isolation.properties
        if missing:
            await backend.close()
            found = backend.isolation.backend
            reasons.append(f"{found}: works here but lacks {', '.join(sorted(missing))}")
            lacking |= missing
            continue
        log_isolation(backend.isolation)
        return backend
    remedies = [f"For {word}: {REQUIREMENTS[word]}." for word in sorted(lacking)]
    if not lacking and name in ("auto", *AUTOMATIC):
        remedies = [REMEDIES]
    raise SandboxUnavailable(
        f"no sandbox works here as asked for. {'; '.join(reasons)}. {' '.join(remedies)}"
    )


def log_isolation(facts: Isolation) -> None:
    """Say once a process what holds and what does not; `Isolation.as_json` is for the record."""
    level = logging.WARNING if facts.tier == "none" else logging.INFO
    text = "; ".join(facts.not_enforced) or "nothing"
    _log_once(level, f"sandbox backend {facts.backend}, tier {facts.tier}; not enforced: {text}")


@functools.cache
def _log_once(level: int, line: str) -> None:
    logger.log(level, line)
