"""Calls to a docker daemon, in threads and with bounds. The one module that imports docker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from proofgym.sandboxes.docker.owner import (
    IMAGE_LABEL,
    OWNER_LABEL,
    SANDBOX_LABEL,
    Owner,
    abandoned,
)
from proofgym.sandboxes.errors import (
    LimitInUse,
    SandboxClosed,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)

CALL_S = 30.0  # of one request; the daemon may have to start or end a container within
IMPORT_S = 300.0
REMOVE_S = 20.0
_USUAL = "unix:///var/run/docker.sock"
_GRACE_S = 5.0  # past the request's own timeout
_FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """What a daemon can hold."""

    memory: bool
    processes: bool
    cpu: bool
    seccomp: bool
    runtimes: frozenset[str]
    cores: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A started container and the socket of its streams."""

    id: str
    wire: socket.socket
    started: float  # seconds since the epoch


class Daemon:
    """One daemon. Every failure becomes a typed error that names what was being done."""

    def __init__(
        self, client: docker.DockerClient, threads: ThreadPoolExecutor, address: str
    ) -> None:
        self._client = client
        self._threads = threads
        self._address = address

    @classmethod
    async def connect(cls, host: str = "") -> Daemon:
        """Find the daemon.

        Args:
            host: its address; empty is docker's own choice (DOCKER_HOST, else the usual socket).

        Raises:
            SandboxUnavailable: nothing answers, or it does not let us.
        """
        threads = ThreadPoolExecutor(8, thread_name_prefix="proofgym-docker")
        address = host or kwargs_from_env().get("base_url") or _USUAL

        def open_client() -> docker.DockerClient:
            _knock(address)
            if host:
                return docker.DockerClient(base_url=host, timeout=CALL_S)
            return docker.from_env(timeout=CALL_S)

        try:
            async with asyncio.timeout(CALL_S + _GRACE_S):
                client = await asyncio.wrap_future(threads.submit(open_client))
        except (TimeoutError, *_FAILURES) as error:
            threads.shutdown(wait=False)
            raise SandboxUnavailable(
                f"docker: no daemon answers at {address} ({_short(error)}). Start dockerd, set "
                "DOCKER_HOST to where it listens, or join the group that may use its socket."
            ) from None
        if not client.api.base_url.startswith(("http+docker://localhost", "http://")):
            client.close()
            threads.shutdown(wait=False)
            raise SandboxUnavailable(
                f"docker: {client.api.base_url} is reached over TLS or ssh, whose streams cannot "
                "be held open here; forward its socket (`ssh -L /tmp/d.sock:/run/docker.sock`)."
            )
        return cls(client, threads, address)

    def close(self) -> None:
        """Close idle connections; calls under way end by their own bounds."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        def run() -> T:
            _knock(self._address)
            return work()

        try:
            return self._threads.submit(run)
        except RuntimeError:
            raise SandboxClosed("the docker backend is closed; make a new one.") from None

    async def _call(self, doing: str, work: Callable[[], T], within_s: float = CALL_S) -> T:
        try:
            async with asyncio.timeout(within_s + _GRACE_S):
                return await asyncio.wrap_future(self._submit(work))
        except TimeoutError:
            raise SandboxTimeout(doing, within_s) from None
        except _FAILURES as error:
            raise _translate(doing, error) from None

    # -- the daemon and its images ------------------------------------------------------------

    async def facts(self) -> DaemonFacts:
        """Ask what it can hold."""
        info = await self._call("ask the daemon", self._client.info)
        return DaemonFacts(
            memory=bool(info.get("MemoryLimit")),
            processes=bool(info.get("PidsLimit")),
            cpu=bool(info.get("CpuCfsQuota")),
            seccomp=any("seccomp" in option for option in info.get("SecurityOptions") or ()),
            runtimes=frozenset(info.get("Runtimes") or ()),
            cores=int(info.get("NCPU", 1)),
            version=str(info.get("ServerVersion", "")),
        )

    async def has_image(self, name: str) -> bool:
        """Tell whether an image is there; nothing is ever pulled."""
        return await self.image_environment(name) is not None

    async def image_environment(self, name: str) -> dict[str, str] | None:
        """Read the variables that an image sets; None when it is not there."""

        def read() -> dict[str, str] | None:
            try:
                config = self._client.images.get(name).attrs.get("Config") or {}
            except ImageNotFound:
                return None
            return dict(entry.partition("=")[::2] for entry in config.get("Env") or ())

        return await self._call("look for the image", read)

    async def import_image(
        self, name: str, make: Callable[[], bytes], changes: Sequence[str]
    ) -> None:
        """Make an image from a root file system."""

        def run() -> None:
            repository, _, tag = name.partition(":")
            answer = self._client.api.import_image_from_data(
                make(), repository=repository, tag=tag,
                changes=[*changes, f"LABEL {IMAGE_LABEL}={name}"],
            )  # fmt: skip
            last = json.loads(answer.strip().splitlines()[-1])
            if "error" in last:
                raise DockerException(last["error"])

        await self._call("import the image", run, IMPORT_S)

    # -- containers ---------------------------------------------------------------------------

    async def run(self, name: str, options: Mapping[str, Any]) -> Attached:
        """Create a container, attach to it, and start it.

        Whatever interrupts this, no container stays: one that a thread is still making is
        removed by that thread.
        """
        future = self._submit(lambda: self._run(name, options))
        try:
            async with asyncio.timeout(CALL_S * 2):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            future.add_done_callback(self._discard)
            raise SandboxTimeout("start the container", CALL_S * 2) from None
        except _FAILURES as error:
            raise _translate("start the container", error) from None
        except BaseException:
            future.add_done_callback(self._discard)
            raise

    def _run(self, name: str, options: Mapping[str, Any]) -> Attached:
        labels = {SANDBOX_LABEL: "1", OWNER_LABEL: Owner.this_process().label()}
        started = time.time()
        api = self._client.api
        try:
            made = self._client.containers.create(
                name=name, labels=labels, stdin_open=True, auto_remove=True, **options
            )
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            attached = api.attach_socket(made.id, params=streams)
            try:
                # The SDK reads nothing ahead: the agent says nothing before it is spoken to.
                wire = socket.socket(fileno=os.dup(attached.fileno()))
                wire.settimeout(None)
            finally:
                _let_go(attached)
            try:
                api.start(made.id)
            except BaseException:
                wire.close()
                raise
        except BaseException:
            with contextlib.suppress(*_FAILURES):
                self._remove(name)
            raise
        return Attached(id=made.id, wire=wire, started=started)

    def _discard(self, future: Future[Attached]) -> None:
        if not future.cancelled() and future.exception() is None:
            made = future.result()
            made.wire.close()
            with contextlib.suppress(*_FAILURES):
                self._remove(made.id)

    async def update(self, container: str, memory_bytes: int, processes: int) -> None:
        """Set a running container's limits."""
        api = self._client.api
        url = f"{api.base_url}/v{api.api_version}/containers/{container}/update"
        wanted = {"Memory": memory_bytes, "MemorySwap": memory_bytes, "PidsLimit": processes}

        def run() -> None:
            # The SDK's own call knows no PidsLimit.
            answer = api.post(url, json=wanted, timeout=CALL_S)
            # Control groups of version 1 refuse, and this is runc's word for it; 2 kills instead.
            if "unable to set memory limit" in answer.text:
                raise LimitInUse(
                    f"a limit of {memory_bytes >> 20} MiB is below what the container holds now, "
                    "its files included. Give the run more memory_mib, or delete files."
                )
            if not answer.ok:
                raise DockerException(answer.text)

        await self._call("set the container's limits", run)

    async def ran_out_of_memory(self, container: str, since: float) -> bool:
        """Search the daemon's recent events; the container itself may be gone already."""

        def search() -> bool:
            events = self._client.api.events(
                since=int(since), until=f"{time.time():.6f}", decode=True,
                filters={"container": container, "event": "oom"},
            )  # fmt: skip
            with contextlib.closing(events):
                return any(True for _ in events)

        return await self._call("read the daemon's events", search)

    async def remove(self, container: str) -> None:
        """Kill a container and wait until it is gone."""
        await self._call("remove the container", lambda: self._remove(container), REMOVE_S)

    def _remove(self, container: str) -> None:
        deadline = time.monotonic() + REMOVE_S
        while True:
            try:
                self._client.api.remove_container(container, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                # It removes itself too: "already in progress" until it is gone.
                if time.monotonic() > deadline:
                    raise
                if error.status_code != 409:
                    raise
            time.sleep(0.02)

    async def reap(self) -> int:
        """Remove the containers whose host process is gone; return how many."""

        def run() -> int:
            me, count = Owner.this_process(), 0
            for row in self._client.api.containers(all=True, filters={"label": SANDBOX_LABEL}):
                ended = row.get("State") in ("exited", "dead")
                if abandoned(row.get("Labels") or {}, ended=ended, me=me):
                    # Another process may be reaping it too.
                    with contextlib.suppress(*_FAILURES):
                        self._remove(row["Id"])
                        count += 1
            return count

        return await self._call("remove what dead processes left", run)


def _knock(address: str) -> None:
    """Fail early, and closing what was opened: the SDK leaks the socket of a refused connection."""
    if address.startswith(("unix://", "http+unix://")):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CALL_S)
            probe.connect("/" + address.partition("://")[2].lstrip("/"))


def _let_go(attached: Any) -> None:
    """Close the SDK's side of a socket whose duplicate we hold."""
    response = getattr(attached, "_response", None)  # set by the SDK where it can be
    (response or attached).close()


def _short(error: BaseException) -> str:
    text = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
    return " ".join(text.split())[:400] or type(error).__name__


def _translate(doing: str, error: BaseException) -> SandboxUnavailable | SandboxLost:
    if isinstance(error, ImageNotFound):
        return SandboxUnavailable(
            f"docker: {_short(error)}. Pull it, or leave DockerConfig.image empty for one that is "
            "built from this host's own Python."
        )
    return SandboxLost(f"docker: could not {doing}: {_short(error)}")


async def clean(host: str = "") -> int:
    """Remove what killed processes left on a daemon; return how many containers.

    Raises:
        SandboxUnavailable: no daemon answers.
    """
    daemon = await Daemon.connect(host)
    try:
        return await daemon.reap()
    finally:
        daemon.close()
