"""Runs in the judged program's process: calls it, and sends back plain data.

Its source is sent into the sandbox; nothing here is imported by the host. The program shares the
process and may do to this module what it likes. That gains nothing: no expected value and no test
ever comes here, only names, arguments and operations, and what is sent back is a claim that the
host reads strictly and compares elsewhere.

Values travel as JSON lists that begin with a tag, so that types stay exact:
n 0 1 (None, False, True); i hex; f hex; c re im; s text; b hex; l t S F q (list, tuple, set,
frozenset, deque) items; d pairs; r start stop step; D R (Decimal, Fraction); o (an object that
stays here: number, class, kind, exception bases); A code (a function of the tests, as bytecode);
B module name (a function or class that everybody has).
"""

# Everything raised here is the program's, so it is caught whole and told.
# ruff: noqa: BLE001

from __future__ import annotations

import builtins
import json
import marshal
import operator
import os
import sys
import types
from typing import Any

MOST_VALUES = 1_000_000


class Judged:
    """The program's module, and the objects that its callers hold by number."""

    def __init__(self) -> None:
        sys.setrecursionlimit(sys.getrecursionlimit() + 50)  # our own frames
        self.out = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        self.objects: list[Any] = []
        self.module = types.ModuleType("solution")
        self.left = 0

    def load(self, source: str, module: str = "solution", root: str = ".") -> Any:
        """Run the program's source as a module; modules under a root can be imported too."""
        sys.path.insert(0, os.path.abspath(root))
        self.module.__name__ = module
        self.module.__dict__["__file__"] = f"{module}.py"
        if source:
            sys.modules[module] = self.module
        exec(compile(source, f"{module}.py", "exec", dont_inherit=True), self.module.__dict__)

    def send(self, nonce: Any, reply: Any) -> Any:
        """Write one claim."""
        line = b"\n%s %s\n" % (nonce.encode(), json.dumps(reply).encode())
        while line:
            line = line[os.write(self.out, line) :]

    def attempt(self, work: Any) -> Any:
        """Do something and make a claim of what came of it."""
        try:
            self.left = MOST_VALUES
            return {"ok": self.encode(work())}
        except BaseException as error:
            return {"raise": self.describe(error)}

    def describe(self, error: Any) -> Any:
        """Describe an exception: the nearest class that everybody knows, and its text."""
        kind = type(error)
        known = next(
            base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, 0) is base
        )
        try:
            self.left = 10_000
            arguments = [self.encode(item) for item in error.args]
        except BaseException:
            arguments = []
        try:
            text = str(error)[:500]
        except BaseException:
            text = ""
        own = None if kind.__name__ == known else self.hold(kind)
        return {"known": known, "name": kind.__name__, "args": arguments, "text": text, "own": own}

    def hold(self, value: Any) -> Any:
        """Keep an object here and describe it."""
        number = next((i for i, held in enumerate(self.objects) if held is value), -1)
        if number < 0:
            number = len(self.objects)
            self.objects.append(value)
        kind, bases = "object", []
        if isinstance(value, type):
            kind = "class"
            if issubclass(value, BaseException):
                kind = "exception"
                bases = [
                    base.__name__
                    for base in value.__mro__
                    if getattr(builtins, base.__name__, 0) is base
                ][:1]
        elif isinstance(value, types.ModuleType):
            kind = "module"
        elif hasattr(type(value), "__next__"):
            kind = "iterator"
        if kind in ("object", "iterator"):
            bases = [base.__name__ for base in type(value).__mro__]
        name = value.__name__ if kind in ("class", "exception") else ""
        return ["o", number, type(value).__name__, kind, bases, str(name)]

    def encode(self, value: Any) -> Any:
        """Make tagged JSON of a value; a subclass of a plain type is its plain content."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("the result has too many values")
        kind = type(value)
        if value is None:
            return ["n"]
        if kind is bool:
            return ["1"] if value else ["0"]
        if issubclass(kind, int):
            return ["i", hex(int.__index__(value))]
        if issubclass(kind, float):
            return ["f", float.hex(value)]
        if issubclass(kind, str):
            return ["s", str.__str__(value)]
        if issubclass(kind, list):
            return ["l", [self.encode(item) for item in list.__iter__(value)]]
        if issubclass(kind, tuple):
            return ["t", [self.encode(item) for item in tuple.__iter__(value)]]
        if issubclass(kind, dict):
            return ["d", [[self.encode(k), self.encode(v)] for k, v in dict.items(value)]]
        if issubclass(kind, set):
            return ["S", [self.encode(item) for item in set.__iter__(value)]]
        if issubclass(kind, frozenset):
            return ["F", [self.encode(item) for item in frozenset.__iter__(value)]]
        if issubclass(kind, (bytes, bytearray)):
            return ["b", bytes(memoryview(value)).hex()]
        return self.encode_rare(value, kind)

    def encode_rare(self, value: Any, kind: Any) -> Any:
        if issubclass(kind, complex):
            return ["c", float.hex(complex.__pos__(value).real), float.hex(value.imag)]
        if kind is range:
            return ["r", value.start, value.stop, value.step]
        if kind is type({}.keys()):
            return ["S", [self.encode(item) for item in value]]
        for tag, module, name in (
            ("q", "collections", "deque"),
            ("D", "decimal", "Decimal"),
            ("R", "fractions", "Fraction"),
        ):
            known = getattr(sys.modules.get(module), name, None)
            if isinstance(known, type) and kind is known:
                if tag == "q":
                    return [tag, [self.encode(item) for item in value]]
                return [tag, str(value)]
        callable_kinds = (type, types.BuiltinFunctionType)
        public = value.__name__ if issubclass(kind, callable_kinds) else None
        if type(public) is str and builtins.__dict__.get(public) is value:
            return ["B", "builtins", public]
        return self.hold(value)

    def decode(self, form: Any) -> Any:
        """Make a value of tagged JSON."""
        tag = form[0]
        if tag in "n01":
            return {"n": None, "0": False, "1": True}[tag]
        if tag == "i":
            return int(form[1], 16)
        if tag == "f":
            return float.fromhex(form[1])
        if tag == "s":
            return form[1]
        if tag in "ltSFq":
            items = [self.decode(item) for item in form[1]]
            if tag == "q":
                import collections

                return collections.deque(items)
            return {"l": list, "t": tuple, "S": set, "F": frozenset}[tag](items)
        if tag == "d":
            return {self.decode(key): self.decode(value) for key, value in form[1]}
        if tag == "o":
            return self.objects[form[1]]
        return self.decode_rare(form)

    def decode_rare(self, form: Any) -> Any:
        tag = form[0]
        if tag == "b":
            return bytes.fromhex(form[1])
        if tag == "c":
            return complex(float.fromhex(form[1]), float.fromhex(form[2]))
        if tag == "r":
            return range(*form[1:])
        if tag == "A":
            names = {"__builtins__": builtins}
            for name, module in form[2].items():
                names[name] = __import__(module)
            code = marshal.loads(bytes.fromhex(form[1]))
            return types.FunctionType(code, names, form[3], self.decode(form[4]))
        if tag == "B":
            found = __import__(form[1], fromlist=["_"])
            for part in form[2].split("."):
                found = getattr(found, part)
            return found
        if tag == "D":
            import decimal

            return decimal.Decimal(form[1])
        import fractions

        return fractions.Fraction(form[1])

    # what can be asked for

    def find(self, name: Any) -> Any:
        """Find a name of the program; a method of a class is that of a fresh instance."""
        found, _, rest = name.partition(".")
        module = self.module.__dict__
        if found not in module and "Solution" in module and not rest:
            found, rest = "Solution", name
        if found not in module:
            raise NameError(f"the program defines no {found!r}")
        value = module[found]
        for part in filter(None, rest.split(".")):
            if isinstance(value, type):
                value = value()
            value = getattr(value, part)
        return value

    def call(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Call something; a coroutine is run to its end."""
        result = function(*arguments, **keywords)
        if isinstance(result, types.CoroutineType):
            import asyncio

            return asyncio.run(result)
        return result

    def answer(self, request: Any) -> Any:
        """Answer one request of the tests' side."""
        what = request["op"]
        if what == "names":
            present = [name for name in request["names"] if name in self.module.__dict__]
            return {name: self.attempt(lambda n=name: self.module.__dict__[n]) for name in present}
        if what == "import":
            return self.attempt(lambda: __import__(request["name"], fromlist=["_"]))
        given = [self.decode(item) for item in request["args"]]
        if what == "call":
            keywords = {key: self.decode(value) for key, value in request["keywords"].items()}
            return self.attempt(lambda: self.call(given[0], given[1:], keywords))
        if what == "attr":
            return self.attempt(lambda: getattr(given[0], request["name"]))
        if what == "take":
            return self.take(given[0], request["count"])
        function = getattr(builtins, request["name"], None) or getattr(operator, request["name"])
        return self.attempt(lambda: function(*given))

    def take(self, iterator: Any, count: Any) -> Any:
        """Take some items; says whether it ended, and with what error."""
        items = []
        self.left = MOST_VALUES
        try:
            for _ in range(count):
                items.append(self.encode(next(iterator)))
        except StopIteration:
            return {"items": items, "ended": True}
        except BaseException as error:
            return {"items": items, "raise": self.describe(error)}
        return {"items": items, "ended": False}


def run_calls(job: Any) -> Any:
    """Load a program and make independent calls, one claim each as soon as it is there."""
    judged = Judged()
    loaded = judged.attempt(lambda: judged.load(job["source"]))
    judged.send(job["nonce"], loaded)
    if "raise" in loaded:
        return
    for form in job["calls"]:

        def work(form: Any = form) -> Any:
            arguments = [judged.decode(item) for item in form[0]]
            keywords = {key: judged.decode(value) for key, value in form[1].items()}
            return judged.call(judged.find(job["entry"]), arguments, keywords)

        judged.send(job["nonce"], judged.attempt(work))
