"""The text that starts a side inside a sandbox: bytecode where the Pythons agree, else source."""

from __future__ import annotations

import functools
import marshal
import sys
from pathlib import Path

_START = """
import marshal, sys
_proofgym = {{"__name__": {name!r}}}
if sys.hexversion == {version}:
    exec(marshal.loads(bytes.fromhex({code!r})), _proofgym)
else:
    exec(compile({source!r}, {name!r}, "exec"), _proofgym)
"""


@functools.cache
def bootstrap(name: str) -> str:
    """Return Python text that leaves a side's names in the dictionary ``_proofgym``.

    Args:
        name: ``judged_side`` or ``tests_side``.
    """
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    code = marshal.dumps(compile(source, name, "exec", dont_inherit=True, optimize=2)).hex()
    return _START.format(name=name, version=sys.hexversion, code=code, source=source)
