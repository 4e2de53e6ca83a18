"""What a sandbox server does: sandboxes by lease, and every request answered once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proofgym.sandboxes.errors import SandboxError, SandboxLost
from proofgym.sandboxes.http.message import (
    Message,
    error_message,
    limits_from,
    result_message,
)
from proofgym.sandboxes.pool import Pool
from proofgym.sandboxes.protocol import Interpreter, Limits, Sandbox, Snapshot

logger = logging.getLogger(__name__)

REMEMBER_S = 120.0  # how long an answer waits for a client that asks again; see client.RETRY_S
REMEMBER_BYTES = 256 << 20


@dataclass(slots=True)
class _Held:
    sandbox: Sandbox
    exit: contextlib.AsyncExitStack
    interpreters: dict[str, Interpreter] = field(default_factory=dict)


@dataclass(slots=True)
class _Call:
    task: asyncio.Task[bytes]
    ended: float | None = None


@dataclass(slots=True)
class _Client:
    deadline: float
    held: dict[str, _Held] = field(default_factory=dict)
    calls: OrderedDict[str, _Call] = field(default_factory=OrderedDict)


class Service:
    """The operations, without the transport. All of a client's things end with its lease."""

    def __init__(self, pool: Pool, *, lease_s: float = 60.0, ceiling: Limits | None = None) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._ceiling = ceiling or Limits(
            wall_s=3600.0, memory_mib=16 << 10, processes=4096, open_files=65_536,
            disk_mib=8 << 10, inodes=1_000_000, output_bytes=256 << 20,
        )  # fmt: skip
        # Told to clients, who can thereby tell that their sandboxes went with another server.
        self.instance = secrets.token_hex(8)
        self._clients: dict[str, _Client] = {}
        self._watch: asyncio.Task[None] | None = None
        self._operations: dict[str, Callable[[_Client, Message], Awaitable[Message]]] = {
            "hello": self._hello, "touch": self._touch, "bye": self._bye,
            "python_once": self._python_once, "exec_once": self._exec_once,
            "create": self._create, "close": self._close_sandbox, "exec": self._exec,
            "python": self._python, "open": self._open, "cell": self._cell,
            "close_interpreter": self._close_interpreter, "read": self._read,
            "write": self._write, "list": self._list, "upload": self._upload,
            "snapshot": self._snapshot, "restore": self._restore, "fork": self._fork,
        }  # fmt: skip

    async def start(self) -> None:
        """Start the pool and the watch over leases."""
        await self._pool.start()
        self._watch = asyncio.ensure_future(self._watch_leases())

    async def close(self) -> None:
        """End every client's things and the pool."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        for name in list(self._clients):
            await self._end(name)
        await self._pool.close()

    # -- requests -----------------------------------------------------------------------------

    async def answer(self, operation: str, request: Message) -> bytes:
        """Answer a request: the first with its key does it, the others get the same answer."""
        words = request.words
        name, key = str(words.get("client", "")), str(words.get("key", ""))
        if operation not in {*self._operations, "cancel"} or not name or not key:
            return error_message(ValueError(f"unknown request {operation!r}")).encode()
        if operation not in ("hello", "bye") and words.get("instance") != self.instance:
            return Message(words={"other_instance": self.instance}).encode()
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(deadline=0.0)
        client.deadline = time.monotonic() + self._lease_s
        for done in words.get("done", []):
            client.calls.pop(str(done), None)
        if operation == "cancel":
            return await self._cancel(client, str(words.get("cancels")))
        call = client.calls.get(key)
        if call is None:
            call = _Call(asyncio.ensure_future(self._do(operation, client, request)))
            client.calls[key] = call
            call.task.add_done_callback(lambda _: self._ended(client, call))
        return await asyncio.shield(call.task)

    async def _do(self, operation: str, client: _Client, request: Message) -> bytes:
        try:
            return (await self._operations[operation](client, request)).encode()
        except (SandboxError, ValueError) as error:
            return error_message(error).encode()
        except (KeyError, TypeError, IndexError) as error:
            text = f"{operation}: a field is missing or wrong: {error!r}"
            return error_message(ValueError(text)).encode()
        except asyncio.CancelledError:
            return error_message(SandboxLost("the run was cancelled")).encode()
        except Exception as error:
            logger.exception("a sandbox request failed")
            return error_message(SandboxLost(f"the server's host failed: {error!r}")).encode()

    @staticmethod
    async def _cancel(client: _Client, key: str) -> bytes:
        call = client.calls.pop(key, None)
        if call is not None:
            call.task.cancel()
            await asyncio.wait([call.task])
        return Message(words={}).encode()

    @staticmethod
    def _ended(client: _Client, call: _Call) -> None:
        """Keep few and recent answers; one that was large gives way to a typed error."""
        call.ended = time.monotonic()
        kept = 0
        for key, old in reversed(list(client.calls.items())):
            if old.ended is None or old.task.cancelled():
                continue
            if old.ended < time.monotonic() - REMEMBER_S:
                del client.calls[key]
                continue
            kept += len(old.task.result())
            if kept > REMEMBER_BYTES and old is not call:
                client.calls[key] = _Call(asyncio.ensure_future(_forgotten()), old.ended)

    async def _watch_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 10)
            for name, client in list(self._clients.items()):
                if client.deadline < time.monotonic():
                    logger.warning("a sandbox client is gone; closing its %d", len(client.held))
                    await self._end(name)

    async def _end(self, name: str) -> None:
        client = self._clients.pop(name)
        tasks = [call.task for call in client.calls.values() if not call.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for held in list(client.held.values()):
            await self._release(held)

    @staticmethod
    async def _release(held: _Held) -> None:
        try:
            await held.exit.aclose()
        except SandboxError as error:
            logger.warning("a sandbox did not close well: %s", error)

    # -- operations ---------------------------------------------------------------------------

    def _limits(self, request: Message) -> Limits | None:
        words = request.words.get("limits")
        if words is None:
            return None
        limits = limits_from(words)
        for name in ("wall_s", "memory_mib", "processes", "open_files", "disk_mib", "inodes",
                     "output_bytes"):  # fmt: skip
            if getattr(limits, name) > getattr(self._ceiling, name):
                raise ValueError(
                    f"Limits.{name} must be at most {getattr(self._ceiling, name)} on this "
                    f"server, got {getattr(limits, name)}."
                )
        return limits

    @staticmethod
    def _held(client: _Client, request: Message) -> _Held:
        name = str(request.words["sandbox"])
        if name not in client.held:
            raise SandboxLost(f"the server has no sandbox {name}: its lease ended; make a new one")
        return client.held[name]

    async def _hello(self, client: _Client, request: Message) -> Message:
        facts = self._pool.isolation.as_json()
        words = {"isolation": facts, "instance": self.instance, "lease_s": self._lease_s}
        return Message(words=words)

    async def _touch(self, client: _Client, request: Message) -> Message:
        return Message(words={})  # every request renews the lease

    async def _bye(self, client: _Client, request: Message) -> Message:
        held = list(client.held.values())
        client.held.clear()
        for one in held:
            await self._release(one)
        return Message(words={})

    async def _python_once(self, client: _Client, request: Message) -> Message:
        code = request.blobs[0].decode("utf-8", "surrogatepass")
        limits = self._limits(request)
        return result_message(await self._pool.python(code, stdin=request.blobs[1], limits=limits))

    async def _exec_once(self, client: _Client, request: Message) -> Message:
        command, limits = request.words["command"], self._limits(request)
        return result_message(await self._pool.exec(command, stdin=request.blobs[0], limits=limits))

    async def _hold(self, client: _Client, limits: Limits | None) -> str:
        stack = contextlib.AsyncExitStack()
        sandbox = await stack.enter_async_context(self._pool.acquire(limits))
        name = secrets.token_hex(8)
        client.held[name] = _Held(sandbox, stack)
        return name

    async def _create(self, client: _Client, request: Message) -> Message:
        return Message(words={"sandbox": await self._hold(client, self._limits(request))})

    async def _close_sandbox(self, client: _Client, request: Message) -> Message:
        held = client.held.pop(str(request.words["sandbox"]), None)
        if held is not None:
            await self._release(held)
        return Message(words={})

    async def _exec(self, client: _Client, request: Message) -> Message:
        words = request.words
        result = await self._held(client, request).sandbox.exec(
            words["command"], stdin=request.blobs[0], env=words["env"], cwd=words["cwd"],
            limits=self._limits(request),
        )  # fmt: skip
        return result_message(result)

    async def _python(self, client: _Client, request: Message) -> Message:
        code = request.blobs[0].decode("utf-8", "surrogatepass")
        sandbox = self._held(client, request).sandbox
        result = await sandbox.python(code, stdin=request.blobs[1], limits=self._limits(request))
        return result_message(result)

    async def _open(self, client: _Client, request: Message) -> Message:
        held = self._held(client, request)
        python = request.words["kind"] == "python-session"
        name = secrets.token_hex(4)
        sandbox = held.sandbox
        held.interpreters[name] = await (sandbox.python_session() if python else sandbox.shell())
        return Message(words={"interpreter": name})

    async def _cell(self, client: _Client, request: Message) -> Message:
        interpreter = self._held(client, request).interpreters[request.words["interpreter"]]
        text = request.blobs[0].decode("utf-8", "surrogatepass")
        return result_message(await interpreter.run(text, limits=self._limits(request)))

    async def _close_interpreter(self, client: _Client, request: Message) -> Message:
        held = self._held(client, request)
        interpreter = held.interpreters.pop(request.words["interpreter"], None)
        if interpreter is not None:
            await interpreter.close()
        return Message(words={})

    async def _read(self, client: _Client, request: Message) -> Message:
        words, sandbox = request.words, self._held(client, request).sandbox
        content = await sandbox.read(words["path"], max_bytes=int(words["max_bytes"]))
        return Message(words={}, blobs=(content,))

    async def _write(self, client: _Client, request: Message) -> Message:
        words, sandbox = request.words, self._held(client, request).sandbox
        await sandbox.write(words["path"], request.blobs[0], mode=int(words["mode"]))
        return Message(words={})

    async def _list(self, client: _Client, request: Message) -> Message:
        entries = await self._held(client, request).sandbox.list_files(request.words["path"])
        rows = [[entry.name, entry.kind.value, entry.size, entry.mode] for entry in entries]
        return Message(words={"entries": rows})

    async def _upload(self, client: _Client, request: Message) -> Message:
        files = dict(zip(request.words["names"], request.blobs, strict=True))
        await self._held(client, request).sandbox.upload(files)
        return Message(words={})

    async def _snapshot(self, client: _Client, request: Message) -> Message:
        snapshot = await self._held(client, request).sandbox.snapshot()
        return Message(words={}, blobs=(snapshot.archive,))

    async def _restore(self, client: _Client, request: Message) -> Message:
        snapshot = Snapshot(archive=request.blobs[0])
        await self._held(client, request).sandbox.restore(snapshot)
        return Message(words={})

    async def _fork(self, client: _Client, request: Message) -> Message:
        """Take the forks' places from the pool, so that its bound holds for them too."""
        snapshot = await self._held(client, request).sandbox.snapshot()
        limits = self._limits(request)

        made: list[str] = []

        async def one() -> None:
            name = await self._hold(client, limits)
            made.append(name)
            await client.held[name].sandbox.restore(snapshot)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(int(request.words["n"])):
                    group.create_task(one())
        except BaseException as error:
            for name in made:
                await self._release(client.held.pop(name))
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return Message(words={"sandboxes": made})


async def _forgotten() -> bytes:
    text = "the answer was too large to be kept for a client that asks again"
    return error_message(SandboxLost(text)).encode()
