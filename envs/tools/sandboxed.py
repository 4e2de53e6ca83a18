"""Tools that every agent wants: Python and a shell, in the episode's own sandbox."""

from typing import Any

from proofgym.envs.session import Session
from proofgym.envs.tools.tool import Tool
from proofgym.sandboxes import BridgedSandbox, Limits, Result, Status

_ENDED = {
    Status.TIMEOUT: "stopped: it took too long",
    Status.MEMORY: "stopped: it used too much memory",
    Status.PIDS: "stopped: it started too many processes",
    Status.OUTPUT_LIMIT: "stopped: it printed too much",
    Status.KILLED: "killed",
}


def python_tool(
    *,
    stateful: bool = False,
    timeout_s: float = 10.0,
    memory_mib: int = 512,
    max_output_chars: int = 8_000,
    name: str = "python",
) -> Tool[..., Any]:
    """Make a tool that runs Python in the episode's sandbox; files stay between calls.

    Args:
        stateful: keep variables between calls and show the value of a last expression, as a
            notebook does. A copy of the episode (``snapshot``, ``fork``) has the files but begins
            with no variables, and the policy is told when variables were lost.
        timeout_s: wall time of one call; what passes it is stopped, and the policy is told.
        memory_mib: of one call.
        max_output_chars: a longer output loses its middle.
        name: as the policy calls it.
    """
    limits = Limits(wall_s=timeout_s, memory_mib=memory_mib)

    async def python(code: str, box: BridgedSandbox) -> str:
        """Run Python and return what it printed. Files stay between calls, variables do not.

        Args:
            code: the program
        """
        return told(await box.python(code, limits=limits))

    async def session(code: str, episode: Session) -> str:
        """Run Python and return what it printed; variables and files stay between calls.

        Args:
            code: the program; the value of its last expression is shown
        """
        return told(await (await episode.interpreter("python")).run(code, limits=limits))

    chosen = session if stateful else python
    return Tool(chosen, name=name, max_output_chars=max_output_chars)


def bash_tool(
    *,
    stateful: bool = True,
    timeout_s: float = 10.0,
    memory_mib: int = 512,
    max_output_chars: int = 8_000,
    name: str = "bash",
) -> Tool[..., Any]:
    """Make a tool that runs shell commands in the episode's sandbox; files stay between calls.

    Args:
        stateful: one shell for the episode, which keeps its directory, variables and functions.
        timeout_s, memory_mib, max_output_chars, name: as for :func:`python_tool`.
    """
    limits = Limits(wall_s=timeout_s, memory_mib=memory_mib)

    async def bash(command: str, box: BridgedSandbox) -> str:
        """Run a shell command and return its output. Files stay between calls.

        Args:
            command: what to run
        """
        return told(await box.exec(["/bin/bash", "-c", command], limits=limits))

    async def session(command: str, episode: Session) -> str:
        """Run a command in a shell that keeps its directory and variables; return its output.

        Args:
            command: what to run
        """
        if "\0" in command:
            return "error: a command cannot hold a NUL character"
        return told(await (await episode.interpreter("shell")).run(command, limits=limits))

    chosen = session if stateful else bash
    return Tool(chosen, name=name, max_output_chars=max_output_chars)


def told(result: Result) -> str:
    """Tell a policy what its program did: its output, and how it ended unless that was well."""
    parts = [result.stdout.rstrip("\n"), result.stderr.rstrip("\n")]
    if result.status is Status.EXITED:
        parts.append(f"[exit code {result.exit_code}]")
    elif result.status is not Status.OK:
        parts.append(f"[{_ENDED.get(result.status, result.status.value)}]")
    if result.state_lost:
        parts.append("[started afresh: earlier variables are gone]")
    return "\n".join(part for part in parts if part)
