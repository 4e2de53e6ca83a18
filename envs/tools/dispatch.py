"""Run what a policy asked for; whatever goes wrong becomes text that it can read."""

import asyncio
import difflib
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from proofgym.envs.blocking import in_a_loop
from proofgym.envs.errors import InfraError, ToolError
from proofgym.envs.session import Session
from proofgym.envs.tools.tool import Tool
from proofgym.sandboxes import (
    BlockingSandbox,
    BridgedSandbox,
    Calls,
    SandboxError,
    SandboxFileError,
    shared_sandboxes,
)
from proofgym.verifiers import SecretLeakError, ToolCall


class ToolFault(StrEnum):
    """What was wrong with a call."""

    MALFORMED = "malformed"  # the call or its arguments are not JSON
    UNKNOWN = "unknown"  # no such tool
    ARGUMENTS = "arguments"  # the arguments do not fit the schema
    REFUSED = "refused"  # an exclusive tool beside others
    RAISED = "raised"  # the tool raised
    TIMEOUT = "timeout"  # the tool passed its wall limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call came to.

    Args:
        text: what the policy reads.
        fault: what was wrong, if anything.
        ends: whether a terminal tool has done its work, so that the episode is over.
    """

    text: str
    fault: ToolFault | None = None
    ends: bool = False


AnyTool = Tool[..., Any]
INJECTORS: Mapping[str, Callable[[Session], Any]] = {
    "episode": lambda session: session,
    "rng": lambda session: session.rng,
}
"""How a hidden parameter is filled in, beside ``box``, which may have to wait."""


async def run_call(
    tools: Mapping[str, AnyTool], call: ToolCall, session: Session, owner: object, *, alone: bool
) -> Outcome:
    """Run one call.

    Args:
        tools: by name.
        call: what the policy asked for.
        session: the live episode.
        owner: the environment, for tools that are its methods.
        alone: whether it is the only call of its message, as an exclusive tool must be.

    Raises:
        InfraError: the tool said that something outside failed, or its sandbox broke.
        SecretLeakError: the tool tried to show the policy a Secret.
    """
    if call.error is not None:
        return _bad(ToolFault.MALFORMED, call.error)
    tool = tools.get(call.name)
    if tool is None:
        return _bad(ToolFault.UNKNOWN, _unknown(call.name, tools))
    if tool.exclusive and not alone:
        return _bad(ToolFault.REFUSED, f"{tool.name} must be the only call of its message")
    signature = tool.signature
    try:
        model = signature.model.model_validate_json(call.arguments or "{}")
    except ValueError as error:  # pydantic's ValidationError is one
        return _bad(*_explain(error, tool))
    # the values as validated, not dumped: a parameter may be a model of its own
    values = model.__dict__.values()
    arguments = dict(zip(signature.names, values, strict=True))
    calls: Calls | None = None
    try:
        for name, source in signature.injected.items():
            if source == "box":  # opened before the tool's clock starts: waiting is not its doing
                calls = calls or Calls(shared_sandboxes().calls.loop)
                arguments[name] = await _box(tool, session, calls)
            else:
                arguments[name] = INJECTORS[source](session)
        result = await _invoke(tool, owner, arguments, threaded=calls is not None)
    except (InfraError, SecretLeakError):
        raise
    except SandboxFileError as error:
        return _bad(ToolFault.RAISED, str(error))
    except SandboxError as error:
        raise InfraError(f"tool {tool.name!r} lost its sandbox: {error}") from error
    except _TooLateError:
        if calls is not None:
            calls.cancel()  # what it still runs there ends; the files stay
        return _bad(ToolFault.TIMEOUT, f"{tool.name} took longer than {tool.timeout_s:g} s")
    except ToolError as error:
        return _bad(ToolFault.RAISED, str(error))
    except Exception as error:  # noqa: BLE001  # task boundary: shown to the policy, counted
        return _bad(ToolFault.RAISED, f"{type(error).__name__}: {error}")
    return Outcome(text=_shown(result, tool.max_output_chars), ends=tool.terminal)


async def _box(tool: AnyTool, session: Session, calls: Calls) -> BlockingSandbox | BridgedSandbox:
    if tool.is_async:
        return await session.workspace.bridged(calls)
    if not in_a_loop():
        return session.workspace.blocking(calls)
    return await asyncio.to_thread(session.workspace.blocking, calls)


async def _invoke(
    tool: AnyTool, owner: object, arguments: dict[str, Any], *, threaded: bool
) -> Any:
    """Call the tool's function.

    Args:
        tool, owner, arguments: what to call.
        threaded: it blocks on a sandbox, so it must not hold up the event loop, if there is one.
    """
    positional = (owner,) if tool.is_method else ()
    threaded = threaded and not tool.is_async and in_a_loop()
    if tool.timeout_s is None and not threaded:
        result = tool.function(*positional, **arguments)
        return await result if tool.is_async else result
    if tool.is_async:
        outcome = await _within(tool.function(*positional, **arguments), tool.timeout_s)
    else:
        outcome = await _in_thread(lambda: tool.function(*positional, **arguments), tool.timeout_s)
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a tool raised, kept apart from our own limit: a tool may raise TimeoutError too."""

    error: Exception


class _TooLateError(Exception):
    """Our limit on a tool passed."""


async def _within(waiting: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
    async def caught() -> Any:
        try:
            return await waiting
        except Exception as error:  # noqa: BLE001  # raised again by the caller
            return _Raised(error)

    try:
        return await asyncio.wait_for(caught(), seconds)
    except TimeoutError:
        raise _TooLateError from None


async def _in_thread(work: Callable[[], Any], seconds: float | None) -> Any:
    future: Future[Any] = Future()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # raised again by the caller
            result = _Raised(error)
        except BaseException as error:  # noqa: BLE001  # sys.exit() in a tool, which ends only it
            result = _Raised(ToolError(f"{type(error).__name__}: {error}"))
        if future.set_running_or_notify_cancel():
            future.set_result(result)

    # a daemon of its own, not a pool: a pool's threads are joined when Python exits, and a tool
    # that hangs would hang the program with it
    threading.Thread(target=run, daemon=True, name="proofgym-tool").start()
    try:
        if not in_a_loop():
            return future.result(seconds)
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
    except TimeoutError:  # concurrent.futures' TimeoutError is the same class since 3.11
        raise _TooLateError from None


def _bad(fault: ToolFault, text: str) -> Outcome:
    return Outcome(text=f"error: {text}", fault=fault)


def _unknown(name: str, tools: Mapping[str, AnyTool]) -> str:
    if not tools:
        return f"no tool is named {name!r}: there are no tools here"
    near = difflib.get_close_matches(name, tools, n=3, cutoff=0.5)
    return f"no tool is named {name!r}; there is {', '.join(near or sorted(tools))}"


def _explain(error: ValueError, tool: AnyTool) -> tuple[ToolFault, str]:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return ToolFault.MALFORMED, f"the arguments are not JSON: {error}"
    problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return ToolFault.MALFORMED, f"the arguments are not JSON: {problems[0]['msg']}"
    texts = [
        ".".join(str(part) for part in problem["loc"]) + ": " + problem["msg"]
        if problem["loc"]
        else problem["msg"]
        for problem in problems[:3]
    ]
    return ToolFault.ARGUMENTS, f"{tool.name}: {'; '.join(texts)}"


def _shown(result: Any, most: int) -> str:
    if result is None:
        return ""
    # str(Secret) raises, and json.dumps comes to it by `default`: a Secret cannot get out here
    text = (
        result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    )
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
