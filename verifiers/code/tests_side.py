"""Runs the tests in a sandbox of their own; the judged program is reached through stand-ins.

Its source is sent into the sandbox; nothing here is imported by the host. A test runs in a thread.
When it needs something of the program, the thread waits while the host carries the request to the
judged side and brings back its claim. Plain data arrives as exact plain types, so that no method
of the program's classes ever takes part in a comparison with what a test expects.
"""

# Everything raised here is a test's or the program's, so it is caught whole and told.
# ruff: noqa: BLE001, B023
# Stand-ins are made at run time, by name:
# mypy: ignore-errors

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import json
import marshal
import os
import queue
import sys
import threading
import types
from typing import Any

UNSUPPORTED = "cannot be sent to the program"


class Dead(BaseException):
    """The program is gone; not an Exception, so that tests do not swallow it."""


class Unsupported(BaseException):
    """A test needs what cannot cross to the program: the test's own limit, nobody's fault."""


class Wire:
    """The two queues between the tests' thread and the host."""

    def __init__(self) -> Any:
        self.requests, self.replies = queue.SimpleQueue(), queue.SimpleQueue()
        self.results, self.broken = [], None
        self.classes: list[str] = []
        self.exceptions = {}
        self.out = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)

    def ask(self, request: Any) -> Any:
        """Send a request and wait for the program's claim."""
        self.requests.put(request)
        reply = self.replies.get()
        if "dead" in reply:
            raise Dead(reply["dead"])
        return reply

    def value(self, request: Any) -> Any:
        """Send a request and return the value, or raise what the program raised."""
        reply = self.ask(request)
        if "raise" in reply:
            raise self.error(reply["raise"], stops=request.get("name") == "next")
        return self.decode(reply["ok"])

    def error(self, told: Any, stops: Any = False) -> Any:
        """Make an exception of what the program raised.

        One that steers Python itself is none here: StopIteration out of a call would end the
        test's own loop early, as if all had gone well.
        """
        kind = getattr(builtins, told["known"])
        if issubclass(kind, (StopIteration, StopAsyncIteration, GeneratorExit)) and not stops:
            return RuntimeError(f"the program raised {told['name']}")
        if told["own"] is not None:
            kind = self.exception_class(told["own"])
        try:
            arguments = [self.decode(item) for item in told["args"]]
            made = kind(*arguments)
        except BaseException:
            made = RuntimeError(told["text"])
        made.args = made.args or (told["text"],)
        return made

    def exception_class(self, form: Any) -> Any:
        """Return this side's own class for an exception class of the program."""
        number = form[1]
        if number not in self.exceptions:
            base = getattr(builtins, form[4][0])
            self.exceptions[number] = type(form[5] or "ProgramError", (base,), {"pg_form": form})
        return self.exceptions[number]

    def decode(self, form: Any) -> Any:
        """Make a value of tagged JSON."""
        tag = form[0]
        if tag in "n01":
            return {"n": None, "0": False, "1": True}[tag]
        if tag == "i":
            return int(form[1], 16)
        if tag == "f":
            return float.fromhex(form[1])
        if tag == "c":
            return complex(float.fromhex(form[1]), float.fromhex(form[2]))
        if tag == "s":
            return form[1]
        if tag == "b":
            return bytes.fromhex(form[1])
        if tag in "ltSF":
            kind = {"l": list, "t": tuple, "S": set, "F": frozenset}[tag]
            return kind([self.decode(item) for item in form[1]])
        if tag == "d":
            return {self.decode(key): self.decode(value) for key, value in form[1]}
        if tag == "q":
            import collections

            return collections.deque(self.decode(item) for item in form[1])
        if tag == "r":
            return range(*form[1:])
        if tag == "B":
            return getattr(builtins, form[2])
        if tag in "DR":
            import decimal
            import fractions

            return (decimal.Decimal if tag == "D" else fractions.Fraction)(form[1])
        return self.exception_class(form) if form[3] == "exception" else Remote(form)

    def encode(self, value: Any) -> Any:
        """Make tagged JSON of an argument."""
        kind = type(value)
        if kind is Remote:
            return object.__getattribute__(value, "pg_form")
        if value is None:
            return ["n"]
        if kind is bool:
            return ["1"] if value else ["0"]
        if issubclass(kind, int):
            return ["i", hex(int.__index__(value))]
        if issubclass(kind, float):
            return ["f", float.hex(value)]
        if issubclass(kind, complex):
            return ["c", float.hex(value.real), float.hex(value.imag)]
        if issubclass(kind, str):
            return ["s", str.__str__(value)]
        if issubclass(kind, (bytes, bytearray)):
            return ["b", bytes(value).hex()]
        for tag, plain in (("l", list), ("t", tuple), ("S", set), ("F", frozenset)):
            if issubclass(kind, plain):
                return [tag, [self.encode(item) for item in value]]
        if issubclass(kind, dict):
            return ["d", [[self.encode(k), self.encode(v)] for k, v in value.items()]]
        if kind is range:
            return ["r", value.start, value.stop, value.step]
        if isinstance(value, type) and "pg_form" in vars(value):
            return value.pg_form
        if kind.__name__ == "deque":
            return ["q", [self.encode(item) for item in value]]
        if kind.__name__ in ("Decimal", "Fraction"):
            return [kind.__name__[0] if kind.__name__ == "Decimal" else "R", str(value)]
        if hasattr(value, "__next__"):  # what a test iterates over lazily: its items
            return ["l", [self.encode(item) for item in value]]
        return self.encode_function(value)

    def encode_function(self, value: Any) -> Any:
        if isinstance(value, types.FunctionType) and not value.__closure__:
            modules = {}
            for name in value.__code__.co_names:
                found = value.__globals__.get(name)
                if isinstance(found, types.ModuleType):
                    modules[name] = found.__name__
                elif name in value.__globals__:
                    raise Unsupported(f"a function that uses {name!r} {UNSUPPORTED}")
            code = marshal.dumps(value.__code__).hex()
            return ["A", code, modules, value.__name__, self.encode(value.__defaults__)]
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        if (isinstance(value, (type, types.BuiltinFunctionType)) or hasattr(value, "__objclass__")
                ) and module != "__main__" and "<" not in name:  # fmt: skip
            return ["B", module or "builtins", name]
        raise Unsupported(f"a {type(value).__name__} of the tests {UNSUPPORTED}")


WIRE: Any = None  # of this process, set by begin


class Remote:
    """Stands for an object that lives in the program's process."""

    __slots__ = ("pg_form",)

    def __init__(self, form: Any) -> Any:
        object.__setattr__(self, "pg_form", form)

    def __getattr__(self, name: Any) -> Any:
        return WIRE.value({"op": "attr", "args": [WIRE.encode(self)], "name": name})

    def __setattr__(self, name: Any, value: Any) -> Any:
        operate("setattr", self, name, value)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return WIRE.value(
            {
                "op": "call",
                "args": [WIRE.encode(item) for item in (self, *arguments)],
                "keywords": {key: WIRE.encode(value) for key, value in keywords.items()},
            }
        )

    def __eq__(self, other: Any) -> Any:
        """Compare two of the program's objects; what a test expects is not sent there."""
        if type(other) is not Remote:
            return False
        if WIRE.encode(self)[1] == WIRE.encode(other)[1]:
            return True
        equal = operate("eq", self, other) is True
        return equal and operate("ne", self, other) is False

    def __ne__(self, other: Any) -> Any:
        if type(other) is not Remote:
            return True
        return operate("ne", self, other) is True and operate("eq", self, other) is False

    def __hash__(self) -> Any:
        return operate("hash", self)

    def __bool__(self) -> Any:
        """An object is true, unless the tests are of a class, which may say otherwise."""
        return operate("bool", self) is True if under_test(self) else True

    def __instancecheck__(self, value: Any) -> Any:
        return type(value) is Remote and operate("isinstance", value, self) is True

    def __iter__(self) -> Any:
        iterator = self if WIRE.encode(self)[3] == "iterator" else operate("iter", self)
        if type(iterator) is not Remote:
            yield from iterator
            return
        count, ended = 1, False
        while not ended:
            reply = WIRE.ask({"op": "take", "args": [WIRE.encode(iterator)], "count": count})
            for item in reply["items"]:
                yield WIRE.decode(item)
            if "raise" in reply:
                raise WIRE.error(reply["raise"])
            ended, count = reply["ended"], min(count * 2, 1024)

    def __enter__(self) -> Any:
        return self.__getattr__("__enter__")()

    def __exit__(self, *_: Any) -> Any:
        self.__getattr__("__exit__")(None, None, None)

    def __dir__(self) -> Any:
        return operate("dir", self)


def operate(name: Any, *operands: Any) -> Any:
    """Have the program's side apply a built-in function or an operator."""
    return WIRE.value({"op": "apply", "name": name, "args": [WIRE.encode(o) for o in operands]})


def under_test(remote: Any) -> Any:
    """Tell whether it is of a class that the tests name, whose operators are then the task.

    Any other object stands where plain data is expected. Its operators must not decide a test:
    one whose difference to everything is 0 would pass for a number.
    """
    return any(name in WIRE.classes for name in WIRE.encode(remote)[4])


def _unary(name: Any) -> Any:
    return lambda self: operate(name, self)


def _binary(name: Any, swapped: Any) -> Any:
    """An operator with plain data goes to the program only where the tests are of a class."""

    def method(self, other: Any) -> Any:
        if not under_test(self):
            raise TypeError(f"unsupported operand for {name}: an object of the program")
        return operate(name, other, self) if swapped else operate(name, self, other)

    return method


def _ordered(name: Any) -> Any:
    def method(self, other: Any) -> Any:
        if type(other) is not Remote:
            raise TypeError("an object of the program cannot be ordered against plain data")
        return operate(name, self, other)

    return method


for _name in ("len", "str", "repr", "int", "float", "complex", "abs", "neg", "pos", "invert",
              "index", "next", "round", "reversed"):  # fmt: skip
    setattr(Remote, f"__{_name}__", _unary(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_",
              "xor", "lshift", "rshift"):  # fmt: skip
    setattr(Remote, f"__{_name.rstrip('_')}__", _binary(_name, False))
    setattr(Remote, f"__r{_name.rstrip('_')}__", _binary(_name, True))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", _ordered(_name))
Remote.__contains__ = lambda self, item: (
    operate("contains", self, item) is True if under_test(self) else item in list(self)
)
Remote.__getitem__ = lambda self, key: operate("getitem", self, key)
Remote.__setitem__ = lambda self, key, value: operate("setitem", self, key, value)
Remote.__delitem__ = lambda self, key: operate("delitem", self, key)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports what this side does not have from the program."""

    def find_spec(self, name: Any, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in sys.stdlib_module_names or name == "pytest":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        return None

    def exec_module(self, module: Any) -> Any:
        remote = WIRE.value({"op": "import", "name": module.__name__})
        module.__getattr__ = lambda name: getattr(remote, name)


# -- running tests --------------------------------------------------------------------------


def failed(error: Any) -> Any:
    """Say in a line why a test failed."""
    text = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def attempt(label: Any, work: Any) -> Any:
    """Run one test and note what came of it; say whether it passed."""
    why = ""
    try:
        work()
    except Unsupported as error:
        WIRE.broken = str(error)
        raise
    except BaseException as error:
        why = failed(error)
    WIRE.results.append([label, not why, why])
    return not why


def run_statements(spec: Any) -> Any:
    """Run statements one after another in one namespace."""
    names = {"__name__": "tests", "__builtins__": builtins}
    for name, reply in WIRE.ask({"op": "names", "names": spec["names"]}).items():
        if name in spec["names"] and "ok" in reply:
            names[name] = WIRE.decode(reply["ok"])
    for number, text in enumerate(spec["statements"]):

        def work(text: Any = text, number: Any = number) -> Any:
            exec(compile(text, f"test-{number}", "exec", dont_inherit=True), names)

        if not attempt(number, work) and spec["stop_early"]:
            return


def run_files(spec: Any) -> Any:
    """Run test files in the manner of unittest, and of pytest's plain functions and classes."""
    import unittest

    for name, text in spec["files"].items():
        module = types.ModuleType(name.rpartition("/")[2].removesuffix(".py"))
        module.__file__ = name
        sys.modules[module.__name__] = module
        if not attempt(
            f"{name} (import)",
            lambda: exec(compile(text, name, "exec", dont_inherit=True), module.__dict__),
        ):
            continue
        WIRE.results.pop()  # an import that went well is not a test
        for case in unittest_cases(unittest, module):
            attempt(f"{name}::{case.id().partition('.')[2]}", lambda: run_case(unittest, case))
        for label, function in plain_tests(unittest, module):
            attempt(f"{name}::{label}", function)


def unittest_cases(unittest: Any, module: Any) -> Any:
    suites = [unittest.defaultTestLoader.loadTestsFromModule(module)]
    while suites:
        item = suites.pop(0)
        if isinstance(item, unittest.TestSuite):
            suites[:0] = list(item)
        else:
            yield item


def run_case(unittest: Any, case: Any) -> Any:
    """Run one unittest case; a skip that the program caused is no pass."""
    result = unittest.TestResult()
    unittest.TestSuite([case]).run(result)
    if WIRE.broken:
        raise Unsupported(WIRE.broken)
    problems = [text for _, text in result.errors + result.failures]
    if problems:
        raise AssertionError(problems[0].strip().splitlines()[-1])
    if result.unexpectedSuccesses or result.skipped:
        raise AssertionError("skipped, or passed where it was expected to fail")


def plain_tests(unittest: Any, module: Any) -> Any:
    for name, value in list(vars(module).items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            yield from parametrized(name, value)
        elif (
            name.startswith("Test")
            and isinstance(value, type)
            and not issubclass(value, unittest.TestCase)
        ):
            for inner in list(vars(value)):
                if inner.startswith("test"):

                    def run(value: Any = value, inner: Any = inner, **keywords: Any) -> Any:
                        made = value()
                        getattr(made, "setup_method", lambda: None)()
                        getattr(made, inner)(**keywords)

                    run.pg_cases = getattr(vars(value)[inner], "pg_cases", None)
                    yield from parametrized(f"{name}::{inner}", run)


def parametrized(label: Any, function: Any) -> Any:
    cases = getattr(function, "pg_cases", None)
    if cases is None:
        yield label, function
        return
    for number, keywords in enumerate(cases):
        yield f"{label}[{number}]", lambda keywords=keywords: function(**keywords)


def small_pytest() -> Any:
    """Make a module with what plain tests use of pytest; other names end in Unsupported."""
    import contextlib
    import re

    module = types.ModuleType("pytest")

    class Raised:
        value = None

    @contextlib.contextmanager
    def raises_block(expected: Any, match: Any) -> Any:
        raised = Raised()
        try:
            yield raised
        except expected as error:
            raised.value = error
            if match is not None and not re.search(match, str(error)):
                raise AssertionError(f"{match!r} does not match {str(error)!r}") from None
            return
        raise AssertionError(f"did not raise {expected}")

    def raises(
        expected: Any, function: Any = None, *arguments: Any, match: Any = None, **keywords: Any
    ) -> Any:
        if function is None:
            return raises_block(expected, match)
        with raises_block(expected, match):
            function(*arguments, **keywords)
        return None

    class Approx:
        def __init__(self, expected: Any, rel: Any = 1e-6, abs: Any = 1e-12) -> Any:
            self.expected, self.rel, self.abs = expected, rel, abs

        def __eq__(self, other: Any) -> Any:
            import math

            def close(a: Any, b: Any) -> Any:
                if isinstance(b, (list, tuple)):
                    return len(a) == len(b) and all(map(close, a, b))
                if isinstance(b, dict):
                    return a.keys() == b.keys() and all(close(a[key], b[key]) for key in b)
                return math.isclose(a, b, rel_tol=self.rel, abs_tol=self.abs)

            return close(other, self.expected)

        __hash__ = None

    def parametrize(names: Any, values: Any) -> Any:
        keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else names

        def decorate(function: Any) -> Any:
            old = getattr(function, "pg_cases", None) or [{}]
            rows = [value if len(keys) > 1 else (value,) for value in values]
            function.pg_cases = [
                {**a, **dict(zip(keys, row, strict=True))} for row in rows for a in old
            ]
            return function

        return decorate

    def unknown(name: Any) -> Any:
        raise Unsupported(f"pytest.{name} is not among what these tests may use")

    module.raises, module.approx = raises, Approx
    module.mark = types.SimpleNamespace(parametrize=parametrize)
    module.__getattr__ = unknown
    return module


def begin(spec: Any) -> Any:
    """Start the tests in their thread."""
    global WIRE
    WIRE = Wire()
    WIRE.classes = spec["classes"]

    def run() -> Any:
        sys.meta_path.append(Finder())
        sys.modules["pytest"] = small_pytest()
        try:
            run_statements(spec) if "statements" in spec else run_files(spec)
        except Unsupported as error:
            WIRE.broken = str(error)
        except BaseException as error:
            WIRE.results.append(["tests", False, failed(error)])
        WIRE.requests.put({"op": "done"})

    threading.Thread(target=run, daemon=True).start()


def step(nonce: Any, reply: Any) -> Any:
    """Hand a claim to the tests, and tell the host what they need next."""
    if reply is not None:
        WIRE.replies.put(reply)
    request = WIRE.requests.get()
    request["results"], request["broken"] = WIRE.results, WIRE.broken
    line = b"\n%s %s\n" % (nonce.encode(), json.dumps(request).encode())
    while line:
        line = line[os.write(WIRE.out, line) :]
