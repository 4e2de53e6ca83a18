"""A new package with one environment, which is sound and tested from its first minute."""

import json
import keyword
import re
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proofgym.errors import UsageError

_TEMPLATES = Path(__file__).parent / "templates"
TEMPLATES: Mapping[str, str] = {
    "qa": "questions and answers in a file",
    "tools": "questions that need a tool",
    "multi-turn": "a game of several turns",
}
"""Name -> what it is."""
_ABOUT = {
    "qa": "Read a number that is written out in words",
    "tools": "Look a price up and multiply it",
    "multi-turn": "Walk along a line to a goal",
}
_SFT_STEPS = {"qa": 50, "tools": 300, "multi-turn": 300}
_RL_STEPS = {"qa": 100, "tools": 20, "multi-turn": 20}
"""What imitation alone does not learn to the end: the rest is left to the rewards."""
_UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPackage:
    """A package that has been written.

    Args:
        folder: the project's.
        env_id: of its environment.
        files: what was written, relative to the folder, in order.
    """

    folder: Path
    env_id: str
    files: tuple[Path, ...]


def write_package(name: str, *, template: str = "qa", parent: Path | None = None) -> NewPackage:
    """Write a package that is green at once: environment, oracle, test, card, recipe.

    Args:
        name: the package's, which is also the folder's; ``my-env`` becomes ``my_env``.
        template: one of :data:`TEMPLATES`.
        parent: where the folder is made; the working directory where it is not given.

    Raises:
        UsageError: the name is no package's name, the template is unknown, or the folder exists.
    """
    if template not in TEMPLATES:
        raise UsageError(f"expected a template of {', '.join(TEMPLATES)}, got {template!r}.")
    package = name.replace("-", "_")
    taken = package in sys.stdlib_module_names or keyword.iskeyword(package)
    if taken or package == "proofgym" or not re.fullmatch("[a-z][a-z0-9_]*", package):
        raise UsageError(
            "expected a package's name of lower-case letters, digits and _, not one of Python's "
            f"own, got {name!r}. Such as: my_env."
        )
    folder = (parent or Path.cwd()) / package
    if folder.exists():
        raise UsageError(f"expected to make {folder}, got a path that exists. Take another name.")
    env_id = f"{package.replace('_', '-')}/{template}-v0"
    words = {
        "package": package,
        "project": package.replace("_", "-"),
        "class_name": template.title().replace("-", ""),
        "id": env_id,
        "template": template,
        "run": f"runs/{package}",
        "about": _ABOUT[template],
        "sft_steps": str(_SFT_STEPS[template]),
        "rl_steps": str(_RL_STEPS[template]),
    }
    texts: dict[Path, str] = {}
    for source in ("shared", template):
        for path in sorted((_TEMPLATES / source).iterdir()):
            place = Path(*path.name.removesuffix(".tmpl").split("+"))
            named = [package if part == "PACKAGE" else part for part in place.parts]
            texts[Path(*named)] = string.Template(path.read_text("utf-8")).substitute(words)
    if template == "qa":
        texts[Path(package, "tasks.jsonl")] = _questions()
    for place, text in texts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    return NewPackage(folder=folder, env_id=env_id, files=tuple(sorted(texts)))


def _questions() -> str:
    """Write 999 questions, one JSON object a line, to be replaced by the author's own."""
    rows = (
        {"question": f"Write in digits: {_in_words(number)}", "answer": str(number)}
        for number in range(1, 1000)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _in_words(number: int) -> str:
    units, tens = _UNITS.split(), _TENS.split()
    if number < 20:
        return units[number - 1]
    if number < 100:
        ten, one = divmod(number, 10)
        return tens[ten - 2] + (f"-{units[one - 1]}" if one else "")
    hundred, rest = divmod(number, 100)
    return f"{units[hundred - 1]} hundred" + (f" and {_in_words(rest)}" if rest else "")
