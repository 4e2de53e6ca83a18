"""``proofgym envs``: list, search, describe."""

import inspect
import json
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proofgym.envs import Env, Split, derive, environment_class, list_envs, text_of
from proofgym.envs.registry import SUITES

EXAMPLES = 3


def list_environments(words: Sequence[str]) -> int:
    """Print the environments whose id or summary has every word."""
    entries = list_envs()
    wanted = [word.lower() for word in words]
    found = [e for e in entries if all(word in f"{e.id} {e.summary}".lower() for word in wanted)]
    if not found:
        known = ", ".join(entry.id for entry in entries)
        Console(stderr=True).print(f"No environment has {' '.join(words)!r}. There is {known}.")
        return 1
    table = Table.grid(padding=(0, 3))
    for entry in found:
        table.add_row(f"[bold]{escape(entry.id)}[/bold]", escape(entry.summary))
    Console().print(table)
    if not words:
        Console().print(
            "\nOne of them: proofgym envs --show ID. Made by their ids and not listed: "
            f"{', '.join(f'{suite}/...' for suite in SUITES)} (docs/adapters.md).",
            highlight=False,
        )
    return 0


def show_environment(name: str) -> int:
    """Describe one environment."""
    cls = environment_class(name)
    env, console = cls(), Console()
    console.print(f"[bold]{escape(cls.id)}[/bold]  {cls.__module__}:{cls.__qualname__}")
    console.print(escape(inspect.getdoc(cls) or "It has no description."))
    table = Table.grid(padding=(0, 3))
    for key, value in _facts(env):
        table.add_row(f"[bold]{key}[/bold]", escape(value))
    console.print()
    console.print(table)
    return 0


def _facts(env: Env) -> list[tuple[str, str]]:
    cls, limits = type(env), env.limits
    facts = [("system", cls.system or "none")]
    if cls.tasks is not None:
        counts = {split.value: cls.tasks.count(split) for split in Split}
        said = (f"{'endless' if n is None else n} {name}" for name, n in counts.items())
        facts.append(("tasks", ", ".join(said)))
        rng = np.random.default_rng(derive(cls.id, "examples"))
        shown = [cls.tasks.sample(Split.TRAIN, rng) for _ in range(EXAMPLES)]
        texts = (" / ".join(text_of(message) for message in task.messages) for task in shown)
        facts.append(("such as", "\n".join(dict.fromkeys(texts))))
    for schema in env.tool_schemas:
        function = schema["function"]
        properties = json.dumps(function["parameters"].get("properties", {}), ensure_ascii=False)
        about = function.get("description", "").partition("\n")[0]
        facts.append((f"tool {function['name']}", f"{about}\n{properties}"))
    facts += [
        (
            "limits",
            f"{limits.turns} turns, {limits.tool_calls} tool calls, {limits.tokens} tokens, "
            f"{limits.seconds:g} s",
        ),
        ("scripted", ", ".join(cls.demonstrators) or "none"),
    ]
    return facts
