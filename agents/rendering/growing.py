"""Render a conversation that has grown, without rendering again what stands.

A chat template walks over the messages in a loop, and a whole rendering at every turn makes an
episode's cost grow with the square of its turns. Here the loop goes on where the last rendering
left it. This is exact, for any template, because everything that an iteration can read is known:

- the list's items, through ``loop`` and through indices, are handed out by views that record
  whether the iteration saw where the list ended. Such an iteration runs again;
- variables of the outside and namespaces are compared at the loop's entry with those of the last
  rendering; namespaces as they were between two iterations are put back;
- a loop that could read anything else is refused when the template is read
  (:mod:`~proofgym.agents.rendering.loop_rewriting`).

What stands before and behind the loop is always rendered. Where the loop cannot go on it begins
anew, and a template without such a loop is rendered whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from jinja2 import Environment, TemplateError, Undefined
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from proofgym.agents.rendering.loop_rewriting import OVER, rewrite_loops

_SCALARS = (str, int, bool, type(None))
_OF_DICTS = frozenset(dir(dict))
_PLACES = frozenset(("index0", "index", "first", "last", "previtem", "nextitem"))

Spaces = Mapping[str, Mapping[str, Any]]
"""Namespaces by name, as they were at one moment."""


@dataclass(frozen=True, slots=True)
class Border:
    """A place between two iterations.

    Args:
        length: of the loop's text before it, in characters.
        spaces: the namespaces there; None where they hold what cannot be compared.
    """

    length: int
    spaces: Spaces | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """How the loop went.

    Args:
        items: what it walked over.
        names: the outside's variables that it can read, at its entry.
        spaces: the namespaces among them, at its entry.
        begin: where its text begins.
        borders: one before each iteration, and one at the end.
        settled: how many iterations from the first did not see where the items ended.
    """

    items: Sequence[Any]
    names: Mapping[str, Any]
    spaces: Spaces | None
    begin: int
    borders: Sequence[Border]
    settled: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """A conversation's text, and how its loops went, by number, where they can go on."""

    text: str
    walks: Mapping[int, Walk] = field(default_factory=dict)


class GrowingTemplate:
    """Render as transformers does, from where a conversation's last rendering stands.

    Args:
        source: the chat template.
        few: fewer messages are rendered whole: that costs less than to follow the loops.
    """

    def __init__(self, source: str, *, few: int = 16) -> None:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self.few = few

        # its environment's filters, globals and extensions are what templates are written for
        environment = _environment(_compile_jinja_template(source).environment)
        self._whole = environment.from_string(source)
        tree = environment.parse(source)
        self._walking = environment.from_string(tree) if rewrite_loops(tree) else None

    @property
    def grows(self) -> bool:
        """Whether the template's loop can go on; where not, each rendering is whole."""
        return self._walking is not None

    def render(self, variables: Mapping[str, Any], before: Rendering | None = None) -> Rendering:
        """Render the variables, whose ``messages`` continue those of ``before``.

        Messages that were rendered before are known by identity and must not have changed.
        """
        if self._walking is not None and len(variables["messages"]) >= self.few:
            run = _Run(before)
            context = self._walking.new_context({**variables, OVER: run.over})
            try:
                for chunk in self._walking.root_render_func(context):
                    run.add(chunk)
                return run.rendering()
            except _NotAListError:
                self._walking = None
            except (TemplateError, TypeError, ValueError):
                pass  # the whole rendering says what is wrong, in its own words
        return Rendering(text=self._whole.render(variables))


class _NotAListError(Exception):
    """The loop walks over something that is no list."""


class _Run:
    """One rendering."""

    def __init__(self, before: Rendering | None) -> None:
        self._before = before
        self._chunks: list[str] = []
        self._length = 0
        self._walks: dict[int, Walk] = {}

    def add(self, chunk: str) -> None:
        self._chunks.append(chunk)
        self._length += len(chunk)

    def rendering(self) -> Rendering:
        return Rendering(text="".join(self._chunks), walks=self._walks)

    def over(
        self, number: int, items: Any, names: Mapping[str, Any]
    ) -> Iterator[tuple[Any, "_Place", "_Items"]]:
        """Hand out the items, from the first whose iteration may differ from the last time."""
        if type(items) is not list:
            raise _NotAListError
        begin, spaces = self._length, _spaces(names)
        entry = _copied(spaces)
        borders = self._resumed(number, items, names, entry)
        view = _Items(items)
        for index in range(len(borders), len(items)):
            borders.append(Border(self._length - begin, _copied(spaces)))
            view.index = index
            yield items[index], _Place(items, index, view), view
        borders.append(Border(self._length - begin, _copied(spaces)))
        if all(border.spaces is not None for border in borders):
            self._walks[number] = Walk(
                items=items, names=names, spaces=entry, begin=begin, borders=borders,
                settled=view.settled,
            )  # fmt: skip

    def _resumed(
        self, number: int, items: list[Any], names: Mapping[str, Any], entry: Spaces | None
    ) -> list[Border]:
        """Put back what the last rendering has up to its first unsettled iteration."""
        before = self._before
        walk = before.walks.get(number) if before is not None else None
        if before is None or walk is None or not _goes_on(walk, items, names, entry):
            return []
        last = walk.borders[walk.settled]
        if last.length:
            self.add(before.text[walk.begin : walk.begin + last.length])
        for name, space in (last.spaces or _NONE).items():
            for key, value in space.items():
                names[name][key] = value
        return list(walk.borders[: walk.settled])


class _Place:
    """The template's ``loop``."""

    __slots__ = ("_items", "_view", "index0")

    def __init__(self, items: list[Any], index: int, view: "_Items") -> None:
        self._items = items
        self._view = view
        self.index0 = index

    @property
    def index(self) -> int:
        return self.index0 + 1

    @property
    def first(self) -> bool:
        return self.index0 == 0

    @property
    def last(self) -> bool:
        if self.index0 + 1 < len(self._items):
            return False
        self._view.see_the_end()
        return True

    @property
    def previtem(self) -> Any:
        return (
            Undefined("there is no previous item") if self.first else self._items[self.index0 - 1]
        )

    @property
    def nextitem(self) -> Any:
        if self.last:
            return Undefined("there is no next item")
        return self._items[self.index0 + 1]


class _Items:
    """The list as the loop's body sees it."""

    __slots__ = ("_items", "index", "settled")

    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self.index = 0
        self.settled = len(items)

    def see_the_end(self) -> None:
        self.settled = min(self.settled, self.index)

    def __len__(self) -> int:
        self.see_the_end()
        return len(self._items)

    def __getitem__(self, key: Any) -> Any:
        if type(key) is not int or not 0 <= key < len(self._items):
            self.see_the_end()
        return self._items[key]


_NONE: Spaces = {}


def _spaces(names: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Find the namespaces among variables."""
    return [
        (name, value._Namespace__attrs)  # private, and its only reading
        for name, value in names.items()
        if type(value) is Namespace
    ]


def _copied(spaces: Sequence[tuple[str, dict[str, Any]]]) -> Spaces | None:
    """Copy namespaces as they are now; None where one holds what cannot be compared."""
    if not spaces:
        return _NONE
    for _, space in spaces:
        for value in space.values():
            if type(value) not in _SCALARS:
                return None
    return {name: dict(space) for name, space in spaces}


def _goes_on(walk: Walk, items: list[Any], names: Mapping[str, Any], entry: Spaces | None) -> bool:
    if len(items) < len(walk.items) or not all(map(is_, walk.items, items)):
        return False
    for name, value in names.items():
        was = walk.names[name]
        if was is not value and not _same(name, was, value):
            return False
    if entry is None or walk.spaces is None or entry.keys() != walk.spaces.keys():
        return False
    return all(_same_space(space, entry[name]) for name, space in walk.spaces.items())


def _same(name: str, one: Any, other: Any) -> bool:
    """Whether a variable is the same in two renderings, as far as a template can tell."""
    if type(one) is not type(other):
        return False
    if type(one) is Macro:  # of the same template, and what it reads is among the variables
        return bool(one.name == other.name == name)
    return type(one) is Namespace or isinstance(one, Undefined) or (
        type(one) in _SCALARS and one == other
    )  # fmt: skip


def _same_space(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        type(value) is type(other[key]) and value == other[key] for key, value in one.items()
    )


def _environment(base: Environment) -> Environment:
    """Make an environment like transformers' own that reads a dictionary's keys quickly."""
    environment = _QuickEnvironment(
        trim_blocks=base.trim_blocks,
        lstrip_blocks=base.lstrip_blocks,
        extensions=[type(one) for one in base.extensions.values()],
    )
    environment.filters.update(base.filters)
    environment.globals.update(base.globals)
    return environment


_OPEN: Mapping[type, frozenset[str]] = {
    _Place: _PLACES,
    LoopContext: _PLACES,
    str: frozenset(("startswith", "endswith", "split", "strip", "lstrip", "rstrip", "replace")),
}
"""Attributes that the sandbox lets templates read, and returns as they are."""


class _QuickEnvironment(ImmutableSandboxedEnvironment):
    """The same sandbox, quick for what templates read most and what it always lets them read."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read an attribute, or an item of that name."""
        kind = type(obj)
        if kind is dict:  # has no attributes but a dictionary's
            if attribute not in _OF_DICTS:
                try:
                    return obj[attribute]
                except KeyError:
                    return self.undefined(obj=obj, name=attribute)
        elif kind is Namespace:
            value = obj._Namespace__attrs.get(attribute)
            if value is not None and type(value) in _SCALARS and attribute[0] != "_":
                return value
        elif attribute in _OPEN.get(kind, ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)
