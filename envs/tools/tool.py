"""Functions that a policy may call."""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, overload

from proofgym.envs.errors import EnvError
from proofgym.envs.tools.arguments import Signature, read_signature

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """A function with a name, a JSON schema and rules; made by :func:`tool`.

    Called directly, it is the plain function.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        timeout_s: float | None = None,
        exclusive: bool = False,
        terminal: bool = False,
        max_output_chars: int = 8_000,
        signature: Signature | None = None,
    ) -> None:
        self.function = function
        self._given = signature
        self.name: str = name or getattr(function, "__name__", None) or "tool"
        if timeout_s is not None and not timeout_s > 0:
            raise EnvError(
                f"tool {self.name!r}: timeout_s must be positive or None, got {timeout_s}."
            )
        self.timeout_s = timeout_s
        self.exclusive = exclusive
        self.terminal = terminal
        self.max_output_chars = max_output_chars
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_method = next(iter(inspect.signature(function).parameters), "") == "self"
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind a tool written as a method, as Python binds a function."""
        if instance is None or not self.is_method:
            return self
        return self.function.__get__(instance, owner)

    @cached_property
    def signature(self) -> Signature:
        """The parameters and the schema, worked out on first use: pydantic is slow to import."""
        if self._given is not None:  # a tool of elsewhere has its schema from there
            return self._given
        return read_signature(self.function, name=self.name, is_method=self.is_method)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    exclusive: bool = False,
    terminal: bool = False,
    max_output_chars: int = 8_000,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **rules: Any) -> Any:
    """Make a tool of a function or of a method of an environment.

    The schema that the policy sees comes from the type hints and the docstring (its ``Args:``
    section describes the parameters). Parameters named ``episode``, ``rng`` or ``box`` are filled
    in by the runtime and hidden: the live episode, its random generator, and its sandbox, which
    is a :class:`proofgym.Sandbox` for a plain function and a :class:`proofgym.AsyncSandbox` for
    an async one. A sandbox that breaks ends the episode as an infrastructure fault; what the
    policy's program does in it is a result. The function may be async. What it returns is shown
    to the policy: text as it is, anything else as JSON. What it raises is shown too, and the
    episode goes on; raise :class:`ToolError` for a message without the type's name.

    Args:
        name: instead of the function's own.
        timeout_s: wall limit, which waiting for a sandbox does not count against; what the tool
            runs there is killed. An async tool is cancelled. A sync one then runs in a thread of
            its own, which Python cannot kill: it is left behind. None runs a sync tool in place.
        exclusive: must be the only call of its message.
        terminal: ends the episode when it has run without an error.
        max_output_chars: a longer output loses its middle.
    """
    if function is not None:
        return Tool(function)
    return lambda function: Tool(function, **rules)
