"""Rewrite a chat template's loops so that all that they read is known."""

from collections.abc import Iterator, Sequence

from jinja2 import nodes

OVER = "proofgym_over"
"""The variable with a function of the loop's number, its items, and the outside's variables by
name. A rewritten loop walks over what it yields: each item, its place and a view of all items."""

_PLACE, _ITEMS = "proofgym_place", "proofgym_items"
_LOOP_READS = frozenset(("index0", "index", "first", "last", "previtem", "nextitem"))
_IMPURE = frozenset(("strftime_now", "joiner", "cycler", "lipsum", "self"))
_REFUSED = (
    nodes.Block, nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport,
    nodes.EvalContextModifier,
)  # fmt: skip


class _RefusedError(Exception):
    """The loop may read what cannot be followed."""


def rewrite_loops(tree: nodes.Template) -> int:
    """Rewrite the loops over a variable whose reads can all be followed; return their number.

    Args:
        tree: changed in place.
    """
    if next(tree.find_all(_REFUSED), None) is not None:
        return 0
    number = 0
    for loop in list(_loops(tree.body)):
        try:
            _rewrite(tree, loop, number)
            number += 1
        except _RefusedError:
            continue
    return number


def _loops(body: Sequence[nodes.Node]) -> Iterator[nodes.For]:
    """Find the loops over a variable that are in no other loop, macro or block."""
    for node in body:
        if isinstance(node, nodes.If):
            yield from _loops([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, nodes.For) and isinstance(node.iter, nodes.Name):
            yield node


def _rewrite(tree: nodes.Template, loop: nodes.For, number: int) -> None:
    items = loop.iter
    assert isinstance(items, nodes.Name)
    draws = any(one.name == "random" for one in tree.find_all(nodes.Filter))
    if loop.else_ or loop.test is not None or loop.recursive or draws or _breaks(loop):
        raise _RefusedError
    names = _names(tree, loop)
    reads = [read for node in loop.body for read in _reads(node, items.name, nested=False)]
    for name in reads:
        name.name = _PLACE if name.name == "loop" else _ITEMS
    pairs = [nodes.Pair(nodes.Const(name), nodes.Name(name, "load")) for name in sorted(names)]
    arguments = [nodes.Const(number), items, nodes.Dict(pairs)]
    loop.iter = nodes.Call(nodes.Name(OVER, "load"), arguments, [], None, None)
    views = [nodes.Name(_PLACE, "store"), nodes.Name(_ITEMS, "store")]
    loop.target = nodes.Tuple([loop.target, *views], "store")
    loop.set_lineno(loop.lineno)
    assert tree.environment is not None
    loop.set_environment(tree.environment)


def _breaks(node: nodes.Node) -> bool:
    """Whether a loop ends early by itself; loops within it may."""
    return any(
        isinstance(child, nodes.Break) or (not isinstance(child, nodes.For) and _breaks(child))
        for child in node.iter_child_nodes()
    )


def _names(tree: nodes.Template, loop: nodes.For) -> set[str]:
    """Return the names of all that the loop's body may read from outside, through macros too."""
    if next(loop.find_all(nodes.Macro), None) is not None:
        raise _RefusedError
    assert isinstance(loop.iter, nodes.Name)
    macros: dict[str, list[nodes.Macro]] = {}
    for macro in tree.find_all(nodes.Macro):
        macros.setdefault(macro.name, []).append(macro)
    own = set().union(*map(_mentioned, loop.body)) - {"loop", loop.iter.name}
    names, new = set(own), own
    while new:
        within = [_mentioned(macro) for name in new for macro in macros.get(name, ())]
        new = set().union(*within) - names
        names |= new
    if loop.iter.name in names or names & _IMPURE:  # a macro reads the list past the view
        raise _RefusedError
    return names


def _mentioned(node: nodes.Node) -> set[str]:
    """Return the names of variables and namespaces in a piece of a template."""
    found = {node.name} if isinstance(node, nodes.Name | nodes.NSRef) else set()
    return found.union(*map(_mentioned, node.iter_child_nodes()))


def _reads(node: nodes.Node, items: str, *, nested: bool) -> Iterator[nodes.Name]:
    """Find where a piece of the body reads ``loop`` and the items.

    Args:
        node: the piece.
        items: the list's name.
        nested: whether ``loop`` is another loop's.

    Raises:
        _RefusedError: it reads them in another way than through an attribute or an index.
    """
    if isinstance(node, nodes.Name):
        if node.name == items or (node.name == "loop" and not nested):
            raise _RefusedError
        return
    through = getattr(node, "node", None)
    if isinstance(through, nodes.Name):
        ours = through.name == "loop" and not nested
        counts = isinstance(node, nodes.Filter) and node.name in ("length", "count")
        if isinstance(node, nodes.Getattr) and ours and node.attr in _LOOP_READS:
            yield through
            return
        if through.name == items and (counts or isinstance(node, nodes.Getitem)):
            yield through
            if isinstance(node, nodes.Getitem):
                yield from _reads(node.arg, items, nested=nested)
            return
    for name, field in node.iter_fields():
        inner = nested or (isinstance(node, nodes.For) and name not in ("iter", "else_"))
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, nodes.Node):
                yield from _reads(child, items, nested=inner)
