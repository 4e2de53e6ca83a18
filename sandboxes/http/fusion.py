"""One-shot runs on a SandboxFusion server (POST /run_code), for teams that have one."""

from __future__ import annotations

import asyncio
import shlex
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proofgym.sandboxes.errors import (
    SandboxClosed,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)
from proofgym.sandboxes.protocol import Isolation, Limits, Network, Result, Sandbox, Status, Usage

if TYPE_CHECKING:
    import httpx2

CONNECT_S = 5.0
NOT_ENFORCED = (
    "what the server's administrator did not configure: it tells nobody what holds",
    "processes, open files, disk and inodes as Limits ask for them",
    "output: it is cut here, after the server has sent all of it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig:
    """How to reach a SandboxFusion server.

    Attributes:
        url: its root, such as "http://sandbox.internal:8080".
        headers: sent with every request, such as an Authorization for a gateway.
        queue_s: how much longer than its own limit a run may take, waiting for a place.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    queue_s: float = 60.0


class FusionBackend:
    """Python and shell programs, one at a time; no sessions, no files that last.

    The server has no key for a request, so one that it may have had is never sent again.
    """

    def __init__(self, config: FusionConfig, *, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._tls = tls
        self._http: httpx2.AsyncClient | None = None
        self._closed = False

    @property
    def isolation(self) -> Isolation:
        """Say what we can know of it: next to nothing."""
        return Isolation(
            backend="sandbox-fusion",
            tier="sandbox-fusion",
            kernel="unknown",
            network=Network.HOST,
            enforced_by={"wall": "server", "memory": "server", "output": "client"},
            not_enforced=NOT_ENFORCED,
        )

    async def start(self) -> None:
        """Run a first program.

        Raises:
            SandboxUnavailable: the server is away or answers something else.
        """
        try:
            result = await self.python_once("print(6 * 7)")
        except (SandboxLost, SandboxTimeout) as error:
            raise SandboxUnavailable(f"sandbox-fusion at {self._config.url}: {error}") from None
        if result.stdout != "42\n":
            raise SandboxUnavailable(
                f"sandbox-fusion at {self._config.url}: a first program went wrong: {result}"
            )

    async def create(self, limits: Limits) -> Sandbox:
        """Refuse: the server has no sandboxes that last."""
        raise SandboxUnavailable(
            "sandbox-fusion runs single programs only, a session was asked for. Use ns, docker or "
            "a `proofgym serve-sandboxes` server."
        )

    async def python_once(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source there."""
        return await self._run("python", code, stdin, limits or Limits())

    async def exec_once(
        self, command: Sequence[str] | str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run a program there, by its bash."""
        line = command if isinstance(command, str) else shlex.join(command)
        return await self._run("bash", line, stdin, limits or Limits())

    async def _run(self, language: str, code: str, stdin: bytes, limits: Limits) -> Result:
        try:
            text = stdin.decode()
        except UnicodeDecodeError:
            raise ValueError(
                "sandbox-fusion takes standard input as text, got bytes that are not UTF-8."
            ) from None
        request = {
            "code": code, "language": language, "stdin": text, "run_timeout": limits.wall_s,
            "compile_timeout": limits.wall_s, "memory_limit_MB": limits.memory_mib, "files": {},
            "fetch_files": [],
        }  # fmt: skip
        deadline_s = limits.wall_s + self._config.queue_s
        began = time.monotonic()
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self._post(request)
        except TimeoutError:
            raise SandboxTimeout("exec", deadline_s) from None
        return result_of(reply, limits, time.monotonic() - began)

    async def _post(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        import httpx2

        if self._closed:
            raise SandboxClosed("the sandbox-fusion backend is closed; make a new one.")
        if self._http is None:
            verify = self._tls if self._tls is not None else True
            timeout = httpx2.Timeout(None, connect=CONNECT_S)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
            self._http = httpx2.AsyncClient(
                verify=verify, timeout=timeout, limits=limits, trust_env=False,
                headers=dict(self._config.headers),
            )  # fmt: skip
        url = f"{self._config.url.rstrip('/')}/run_code"
        wait_s = 0.1
        while True:
            try:
                reply = await self._http.post(url, json=request)
                break
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if wait_s > 1.0:  # nothing was sent, so asking again was safe; now it is enough
                    raise SandboxLost(f"the server is away: {error}") from None
                await asyncio.sleep(wait_s)
                wait_s *= 2
            except httpx2.TransportError as error:
                raise SandboxLost(
                    f"the connection broke, and the program may have run: {error}"
                ) from None
        if reply.status_code != 200:
            raise SandboxLost(f"the server answered {reply.status_code}: {reply.text[:300]}")
        try:
            answer: Mapping[str, Any] = reply.json()
            return {"status": answer["status"], "message": answer["message"],
                    "run_result": answer.get("run_result")}  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SandboxLost(f"not an answer of /run_code: {error!r}") from None

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def result_of(answer: Mapping[str, Any], limits: Limits, wall_s: float) -> Result:
    """Translate an answer of /run_code.

    Raises:
        SandboxLost: the server says that it, not the program, failed.

    Source: sandbox/server/sandbox_api.py of SandboxFusion.
    """
    ran = answer["run_result"]
    if answer["status"] == "SandboxError" or ran is None or ran["status"] == "Error":
        raise SandboxLost(f"the server failed: {str(answer['message'])[:300]}")
    stdout = (ran.get("stdout") or "").encode(errors="surrogatepass")
    stderr = (ran.get("stderr") or "").encode(errors="surrogatepass")
    code: int | None = ran.get("return_code")
    signal = -code if code is not None and code < 0 else None
    by = ""
    if ran["status"] == "TimeLimitExceeded":
        status, by, code = Status.TIMEOUT, "server", None
    elif len(stdout) + len(stderr) > limits.output_bytes:
        status, by, code = Status.OUTPUT_LIMIT, "client", None
        stdout = stdout[: limits.output_bytes]
        stderr = stderr[: limits.output_bytes - len(stdout)]
    elif signal is not None:
        status, code = Status.KILLED, None
    else:
        status = Status.OK if code == 0 else Status.EXITED
    return Result(
        status=status, exit_code=code, signal=signal, stdout_bytes=stdout, stderr_bytes=stderr,
        usage=Usage(wall_s=ran.get("execution_time") or wall_s), enforced_by=by,
    )  # fmt: skip
