"""``proofgym play``: a person in the policy's place."""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from proofgym.agents import Human
from proofgym.envs import Env, Opening, Split, Transition, environment_class
from proofgym.errors import UsageError
from proofgym.verifiers import Message, Role, Score

STYLES = {Role.SYSTEM: "dim", Role.USER: "bold", Role.TOOL: "cyan", Role.ASSISTANT: "green"}
SEED_RANGE = 2**31


class LeaveError(Exception):
    """The person closed the input."""


def play(env_id: str, *, seed: int | None, index: int | None, split: str) -> int:
    """Play one episode; Ctrl-D ends it."""
    console = Console(highlight=False)
    env = environment_class(env_id)()
    if env.tasks is None:
        raise UsageError(f"{env.id} has no tasks of its own, so there is nothing to play.")
    chosen = secrets.randbelow(SEED_RANGE) if seed is None else seed
    console.print(f"[bold]{escape(env.id)}[/bold]  seed {chosen}")
    try:
        asyncio.run(_Table(env, console).play(chosen, index, Split(split)))
    except (LeaveError, KeyboardInterrupt):
        console.print("\nYou left; the episode was not scored.")
    finally:
        env.close()
    return 0


class _Table:
    """One episode between an environment and a person."""

    def __init__(self, env: Env, console: Console) -> None:
        self.env = env
        self.console = console
        self.line = ""
        self.total = 0.0

    async def play(self, seed: int, index: int | None, split: Split) -> None:
        task = None if index is None else self.env.tasks.task(split, index)
        opening = await self.env.areset(task, seed=seed, split=split)
        self._explain(opening)
        self._show(opening.messages)
        seat = Human(lambda _: self.line).seat(opening, seed)
        while True:
            # read here, in the main thread, where Ctrl-C and Ctrl-D can end it
            self.line = self._read()
            act = await seat.act(max_tokens=self.env.limits.tokens)
            assert act.message is not None  # a person always says something
            transition = await self.env.astep(act.message)
            self.total += transition.reward
            self._show(transition.messages)
            if transition.stop is not None:
                self._verdict(transition)
                return
            self.console.print(f"[dim]reward so far {self.total:+.3f}[/dim]")
            seat.hear(transition.messages)

    def _explain(self, opening: Opening) -> None:
        limits = self.env.limits
        if opening.tools:
            self.console.print("Type an answer, or call a tool with /name and its arguments:")
        for schema in opening.tools:
            function = schema["function"]
            about = function.get("description", "").partition("\n")[0]
            self.console.print(f"  {escape(example_call(function))}   [dim]{escape(about)}[/dim]")
        calls = f", {limits.tool_calls} tool calls" if opening.tools else ""
        turns = "1 turn" if limits.turns == 1 else f"{limits.turns} turns"
        self.console.print(f"[dim]At most {turns}{calls}. Ctrl-D leaves.[/dim]\n")

    def _show(self, messages: Sequence[Message]) -> None:
        for message in messages:
            who = message.name or message.role.value
            style = STYLES[message.role]
            self.console.print(f"[dim]{escape(who)}[/dim]", end="  ")
            self.console.print(message.content, style=style, markup=False, soft_wrap=True)

    def _read(self) -> str:
        while True:
            try:
                line = self.console.input("[green]you[/green]  ").strip()
            except EOFError:
                raise LeaveError from None
            if line:
                return line

    def _verdict(self, transition: Transition) -> None:
        stop, score = transition.stop, transition.score
        assert stop is not None
        if score is None or score.value is None:
            why = transition.fault.message if transition.fault else _error(score)
            self.console.print(
                f"[bold yellow]Not scored[/bold yellow] ({stop.value}): {escape(why)}"
            )
            return
        word = (
            "[bold green]Solved[/bold green]" if score.solved else "[bold red]Not solved[/bold red]"
        )
        self.console.print(f"{word} ({stop.value}), reward {self.total:+.3f}")
        parts = ", ".join(f"{name} {value}" for name, value in score.parts.items())
        if parts:
            self.console.print(f"[dim]{escape(parts)}[/dim]")
        if score.evidence:
            self.console.print(f"[dim]{escape(score.evidence)}[/dim]")


def example_call(function: Mapping[str, Any]) -> str:
    """Show how to call a tool, from its schema."""
    properties: Mapping[str, Any] = function["parameters"].get("properties", {})
    required = function["parameters"].get("required", list(properties))
    arguments = {name: _example(properties[name]) for name in required if name in properties}
    return f"/{function['name']} {json.dumps(arguments, ensure_ascii=False)}"


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    by_type = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    about = str(schema.get("description", "")).removeprefix("such as ")
    return by_type.get(str(schema.get("type")), about or "...")


def _error(score: Score | None) -> str:
    return score.error.message if score is not None and score.error is not None else "no score"
