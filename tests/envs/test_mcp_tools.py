"""Tools of a real MCP server, over its input and output and over HTTP."""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofgym.envs import Env, EnvError, InfraError
from proofgym.envs.adapters.mcp_tools import McpConnection, McpServer
from proofgym.verifiers import Secret, Task, assistant, exact, tool_call

installed = pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None, reason="needs pip install 'proofgym[mcp]'"
)
SCRIPT = str(Path(__file__).with_name("mcp_server.py"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=["stdio", "http"])
def connection(request: pytest.FixtureRequest) -> Iterator[McpConnection]:
    if request.param == "stdio":
        made = McpConnection(McpServer(command=(sys.executable, SCRIPT)))
        yield made
        made.close()
        return
    port = free_port()
    process = subprocess.Popen([sys.executable, SCRIPT, str(port)], stderr=subprocess.DEVNULL)
    try:
        while not listens(port):
            assert process.poll() is None
            time.sleep(0.1)
        made = McpConnection(McpServer(url=f"http://127.0.0.1:{port}/mcp"))
        yield made
        made.close()
    finally:
        process.kill()
        process.wait()


@installed
@pytest.mark.slow
def test_an_environment_uses_the_servers_tools(connection: McpConnection) -> None:
    class Sums(Env):
        tasks = [Task(id="1", prompt="12+34", answer=Secret("46"))]  # noqa: RUF012
        tools = connection.tools()
        rubric = exact()

    env = Sums()
    _, info = env.reset(seed=1)
    by_name = {schema["function"]["name"]: schema["function"] for schema in info["tools"]}
    assert set(by_name) == {"add", "fail"}
    assert by_name["add"]["description"] == "Add two numbers."
    assert by_name["add"]["parameters"]["required"] == ["a"]

    assert env.step(assistant("", tool_call("add", a=12, b=34)))[0] == "46"
    assert env.step(assistant("", tool_call("add", a=12)))[0] == "13"
    assert "Error executing tool fail" in env.step(assistant("", tool_call("fail")))[0]
    assert "error" in env.step(assistant("", tool_call("add", a="x")))[0]
    assert env.step("46")[1:3] == (1.0, True)


def test_a_server_is_a_url_or_a_command() -> None:
    for wrong in ({}, {"url": "http://127.0.0.1:1/mcp", "command": ("x",)}):
        with pytest.raises(EnvError, match="either a url or a command"):
            McpServer(**wrong)


@installed
@pytest.mark.slow
def test_a_server_that_is_not_there_is_an_infrastructure_fault() -> None:
    with pytest.raises(InfraError, match="expected an MCP server at http"):
        McpConnection(McpServer(url=f"http://127.0.0.1:{free_port()}/mcp", start_s=10))
