"""The tools of an MCP server, as tools of an environment.

``pip install 'proofgym[mcp]'``, then ``tools = mcp_tools(McpServer(url="http://.../mcp"))``.
"""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pydantic import RootModel

from proofgym.envs.errors import EnvError, InfraError, ToolError
from proofgym.envs.tools import AnyTool, Tool
from proofgym.envs.tools.arguments import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """Where a server is: either a URL, or a command that speaks over its input and output.

    Args:
        url: of its streamable HTTP endpoint.
        command: what starts it, and its arguments.
        environment: variables for the command, beside the few that MCP passes on.
        call_s: wall limit of one call.
        start_s: wall limit of connecting.
    """

    url: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    call_s: float = 60.0
    start_s: float = 60.0

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.command):
            raise EnvError("expected McpServer to have either a url or a command.")


class McpConnection:
    """A live connection, on an event loop and thread of its own; close it, or leave it to the end.

    All episodes share the server. One that keeps state between calls is no ground for rewards,
    unless its calls name whose state they mean.
    """

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._client: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True, name="proofgym-mcp")
        self._thread.start()
        try:
            self._client.result(server.start_s)
        except Exception as error:
            self._end()
            where = server.url or " ".join(server.command)
            raise InfraError(
                f"expected an MCP server at {where}, got {_told(error)}. Is it running?"
            ) from error

    def tools(self) -> list[AnyTool]:
        """Ask the server for its tools.

        Raises:
            InfraError: it does not answer.
        """
        return [self._tool(found) for found in self._ask(self._list())]

    def close(self) -> None:
        """Leave the server, which ends one that was started by a command."""
        if self._thread.is_alive():
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(self.server.start_s)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._hold())
        except BaseException as error:  # noqa: BLE001  # told to who waits for the client
            if not self._client.done():
                self._client.set_exception(error)
        finally:
            self._loop.close()

    async def _hold(self) -> None:
        """Hold the client open; its scopes must be left by the task that entered them."""
        try:
            from mcp import Client, StdioServerParameters
        except ImportError:
            raise EnvError(
                "expected the package mcp, got none. Run: pip install 'proofgym[mcp]'"
            ) from None
        target: Any = self.server.url
        if self.server.command:
            first, *rest = self.server.command
            extra = dict(self.server.environment) or None
            target = StdioServerParameters(command=first, args=rest, env=extra)
        async with Client(target) as client:
            self._client.set_result(client)
            await self._closing.wait()

    async def _list(self) -> list[Any]:
        client, found, cursor = self._client.result(), [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return found

    def _ask(self, work: Any) -> Any:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            return future.result(self.server.call_s)
        except Exception as error:
            raise InfraError(f"the MCP server did not answer: {_told(error)}.") from error

    def _tool(self, found: Any) -> AnyTool:
        async def call(arguments: dict[str, Any]) -> str:
            return await self._call(found.name, arguments)

        described = {
            "name": found.name,
            "description": found.description or "",
            "parameters": found.input_schema,
        }
        signature = Signature(
            model=RootModel[dict[str, Any]],  # the server checks them by its own schema
            names=("arguments",),
            injected={},
            schema={"type": "function", "function": described},
        )
        return Tool(call, name=found.name, timeout_s=self.server.call_s, signature=signature)

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        client = self._client.result()
        work = client.call_tool(name, arguments)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            result = await asyncio.wrap_future(future)
        except Exception as error:
            work.close()
            raise InfraError(f"the MCP server failed in {name}: {_told(error)}.") from error
        parts = [part.text for part in result.content if part.type == "text"]
        left = len(result.content) - len(parts)
        text = "\n".join([*parts, *([f"[{left} parts that are no text]"] if left else [])])
        if result.is_error:
            raise ToolError(text)
        return text


def mcp_tools(server: McpServer) -> list[AnyTool]:
    """Connect to a server for as long as the program runs, and return its tools.

    Raises:
        InfraError: there is no server, or it does not answer.
    """
    return McpConnection(server).tools()


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
