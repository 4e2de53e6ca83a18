"""Programs judged by tests that they cannot see: nobody is paid without solving the task."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes import SandboxLost, SandboxSpec, SandboxUnavailable, open_sandbox
from proofgym.verifiers import ErrorKind, Score, Secret, Task, Transcript, assistant
from proofgym.verifiers.code import CodeLimits, code_passes
from tests.sandboxes.conftest import unavailable

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "cases" / "code.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
QUICK = CodeLimits(test_s=2.0, total_s=6.0)
ADD = ["assert add(1, 2) == 3", "assert add(-5, 5) == 0", "assert add(100, 23) == 123"]
TALK = [*ADD, "total = add(2, 2)", "assert total == 4"]  # more than calls: two sandboxes


@pytest.fixture(scope="module", autouse=True)
def _sandbox_or_skip() -> None:
    try:
        open_sandbox().close()
    except SandboxUnavailable as error:
        unavailable(str(error))


def judged(program: str, gold: Any, **settings: Any) -> Score:
    chosen: dict[str, Any] = {"limits": QUICK, "extract": lambda text: text, **settings}
    task = Task(id="t", prompt="", answer=Secret(gold))
    return code_passes(**chosen).score(task, Transcript(messages=(assistant(program),)))


def asserts(tests: list[str], entry: str = "add") -> dict[str, Any]:
    return {"kind": "asserts", "entry_point": entry, "tests": tests}


@pytest.mark.slow
def test_every_case_is_judged_as_the_file_says() -> None:
    with ThreadPoolExecutor(8) as threads:
        scores = list(threads.map(lambda row: judged(row["submission"], row), ROWS))
    wrong = {
        row["id"]: score.evidence or score.error
        for row, score in zip(ROWS, scores, strict=True)
        if score.value != row["expected"]
    }
    assert not wrong


HACKS = {
    "prints its nonce": (
        "import gc, os\n"
        "def add(a, b):\n"
        "    for o in gc.get_objects():\n"
        "        if type(o) is dict and 'nonce' in o:\n"
        "            for fd in range(3, 40):\n"
        "                try: os.write(fd, (o['nonce'] + ' {\"ok\": [\"1\"]}\\n').encode() * 9)\n"
        "                except OSError: pass\n"
        "    os._exit(0)\n"
    ),
    "claims that it equals everything": (
        "class E:\n"
        "    def __eq__(self, o): return True\n"
        "    __hash__ = None\n"
        "    def __sub__(self, o): return 0\n"
        "    __add__ = __radd__ = __rsub__ = __sub__\n"
        "def add(a, b): return E()\n"
    ),
    "raises StopIteration": "def add(a, b): raise StopIteration\n",
    "raises AssertionError": "def add(a, b): raise AssertionError\n",
    "raises SkipTest": "import unittest\ndef add(a, b): raise unittest.SkipTest\n",
    "raises GeneratorExit": "def add(a, b): raise GeneratorExit\n",
    "raises KeyboardInterrupt": "def add(a, b): raise KeyboardInterrupt\n",
    "loses itself in a thread": (
        "import threading, os\n"
        "threading.Timer(0.05, lambda: os._exit(0)).start()\n"
        "def add(a, b):\n    import time; time.sleep(0.5)\n"
    ),
    "returns an endless generator": (
        "def add(a, b):\n    n = 0\n    while True:\n        yield n\n        n += 1\n"
    ),
    "returns itself, nested": "def add(a, b):\n    x = []\n    x.append(x)\n    return x\n",
    "returns what is deep": (
        "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x\n"
    ),
    "returns what is large": "def add(a, b): return list(range(10**7))\n",
    "has a repr that lies": (
        "class R:\n    def __repr__(self): return '3'\n    __str__ = __repr__\n"
        "def add(a, b): return R()\n"
    ),
    "reads every frame for text": (
        "import sys\n"
        "def add(a, b):\n"
        "    f = sys._getframe()\n"
        "    while f:\n"
        "        for v in [*f.f_locals.values(), *f.f_code.co_consts]:\n"
        "            if f'add({a}, {b}) == ' in str(v):\n"
        "                return int(str(v).split(f'add({a}, {b}) == ')[1].split()[0])\n"
        "        f = f.f_back\n"
    ),
    "reads every file and process": (
        "import glob, re\n"
        "def add(a, b):\n"
        "    for p in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline')"
        " + glob.glob('/tmp/**', recursive=True) + glob.glob('/workspace/**', recursive=True):\n"
        "        try: t = open(p, errors='replace').read()\n"
        "        except OSError: continue\n"
        "        m = re.search(r'add\\(%s, %s\\) == (-?\\d+)' % (a, b), t)\n"
        "        if m: return int(m[1])\n"
    ),
    "patches our side": (
        "import sys\n"
        "f = sys._getframe()\n"
        "while f:\n"
        "    g = f.f_globals\n"
        "    if 'Judged' in g:\n"
        "        g['Judged'].encode = lambda self, value: ['1']\n"
        '        g[\'json\'].dumps = lambda *a, **k: \'{"ok": ["i", "0x3"]}\'\n'
        "    f = f.f_back\n"
        "def add(a, b): return 0\n"
    ),
    "sends a builtin as its claim": (
        "import sys\n"
        "def add(a, b):\n"
        "    f = sys._getframe()\n"
        "    while f and 'Judged' not in f.f_globals: f = f.f_back\n"
        "    f.f_globals['Judged'].encode = lambda s, v: ['o', 0, 'E', 'exception', ['int'], 'E']\n"
        "    return 1\n"
    ),
    "counts its calls": "n = iter([3, 0, 123, 4] * 9)\ndef add(a, b): return 0 if a else next(n)\n",
    "answers with True": "def add(a, b): return True\n",
    "is a class of its own": (
        "class add:\n"
        "    def __init__(self, a, b): pass\n"
        "    def __eq__(self, o): return True\n"
        "    def __ne__(self, o): return False\n"
    ),
    "writes over the small integers": (
        "import ctypes\n"
        "def add(a, b):\n"
        "    for n in (3, 0, 123, 4):\n"
        "        ctypes.c_uint32.from_address(id(n) + 24).value = 7\n"
        "    return 7\n"
    ),
    "closes every descriptor": "import os\nos.closerange(0, 500)\ndef add(a, b): return 3\n",
    "answers the next request early": (
        "import os\n"
        "def add(a, b):\n"
        "    for fd in range(3, 300):\n"
        "        try: os.write(fd, b'\\0\\0\\0\\0' * 50)\n"
        "        except OSError: pass\n"
        "    return 0\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("tests", [ADD, TALK], ids=["calls", "dialogue"])
def test_no_hack_is_paid(tests: list[str]) -> None:
    def one(program: str) -> Score:
        return judged(program, asserts(tests))

    with ThreadPoolExecutor(6) as threads:
        scores = dict(zip(HACKS, threads.map(one, HACKS.values()), strict=True))
    assert {name: score.evidence for name, score in scores.items() if score.value != 0.0} == {}


SWALLOWING = {
    "a map that ends early": ["assert all(map(add, [1, 2], [3, 4]))"],
    "a loop over results": ["assert sum(add(n, n) for n in range(3)) == 0"],
    "a bare except": ["try:\n    add(1, 2)\nexcept:\n    pass", "assert add(1, 1) == 2"],
    "a skip in unittest": [
        "import unittest",
        "class T(unittest.TestCase):\n    def test_a(self): self.assertEqual(add(1, 2), 3)",
        "r = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))",
        "assert r.wasSuccessful()",
    ],
}


@pytest.mark.parametrize("tests", SWALLOWING.values(), ids=SWALLOWING)
@pytest.mark.parametrize(
    "body",
    ["raise StopIteration", "import unittest; raise unittest.SkipTest", "import os; os._exit(0)"],
)
def test_what_a_test_would_swallow_is_no_pass(tests: list[str], body: str) -> None:
    assert judged(f"def add(a, b):\n    {body}\n", asserts(tests)).value == 0.0


def test_an_equality_that_contradicts_itself_is_not_believed() -> None:
    program = (
        "class Vec:\n    def __init__(self, *a): pass\n    def __add__(self, o): return self\n"
        "    def __eq__(self, o): return True\n    def __ne__(self, o): return True\n"
    )
    tests = ["assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6)", "assert Vec(1, 2) != Vec(2, 1)"]
    assert judged(program, asserts(tests, "Vec")).value == 0.0


HONEST = {
    "imports slowly": ("import time; time.sleep(0.5)\ndef add(a, b): return a + b", ADD),
    "has a main guard": (
        "def add(a, b): return a + b\nif __name__ == '__main__':\n    print(add(*input()))",
        ADD,
    ),
    "does without numpy": (
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None\n"
        "def add(a, b): return a + b",
        ADD,
    ),
    "is async": ("async def add(a, b): return a + b", ADD),
    "is an int of its own": (
        "class I(int): pass\ndef add(a, b): return I(a + b)",
        ADD,
    ),
    "uses threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def add(a, b):\n"
        "    with ThreadPoolExecutor(2) as t: return t.submit(lambda: a + b).result()",
        ADD,
    ),
    "patches its own list": ("list = [1]\nstr = 3\ndef add(a, b): return a + b", ADD),
    "writes much to stdout": ("def add(a, b):\n    print('x' * 10**7)\n    return a + b", ADD),
    "talks and adds": ("def add(a, b): return a + b", TALK),
    "yields": (
        "def add(a, b):\n    yield from range(a, b)",
        ["assert list(add(0, 300)) == list(range(300))", "g = add(0, 2)", "assert next(g) == 0"],
    ),
    "returns a function": (
        "def add(a):\n    return lambda b: a + b",
        ["assert add(3)(4) == 7", "f = add(1)\nassert f(1) == 2"],
    ),
    "takes a function": (
        "def add(f, xs): return [f(x) for x in xs]",
        ["assert add(lambda x: x + 1, [1, 2]) == [2, 3]", "assert add(len, ['a']) == [1]"],
    ),
    "raises an error of its own": (
        "class Bad(ValueError): pass\ndef add(a, b): raise Bad('no ' + a)",
        [
            "try:\n    add('x', 1)\n    assert False\n"
            "except Bad as e:\n    assert str(e) == 'no x'",
            "import pytest",
            "with pytest.raises(ValueError, match='no'):\n    add('y', 1)",
        ],
    ),
    "is a stack": (
        "class Stack:\n"
        "    def __init__(self): self.x = []\n"
        "    def push(self, v): self.x.append(v)\n"
        "    def pop(self): return self.x.pop()\n"
        "    def __len__(self): return len(self.x)\n",
        [
            "s = Stack()",
            "assert not s",
            "s.push(5)",
            "assert len(s) == 1 and s.x == [5]",
            "assert isinstance(s, Stack)",
            "assert s.pop() == 5",
            "try:\n    s.pop()\n    assert False\nexcept IndexError:\n    pass",
        ],
    ),
    "answers to any attribute": (
        "class Any:\n    def __getattr__(self, name): return self\n"
        "    def __call__(self): return 7\n"
        "def add(): return Any()",
        ["assert add().x.y() == 7", "assert add()"],
    ),
    "keeps state": (
        "n = 0\ndef add():\n    global n\n    n += 1\n    return n",
        ["assert add() == 1", "assert add() == 2", "assert add() == 3"],
    ),
    "gives sets and floats": (
        "def add(a): return {a, (a, 0.5), frozenset([a])}",
        ["assert add(1) == {1, (1, 0.5), frozenset({1})}"],
    ),
    "matches": (
        "import re\ndef add(s): return re.match('a+$', s)",
        ["assert add('aa')", "assert not add('b')", "assert add('b') is None"],
    ),
    "is checked in a loop": (
        "def add(a, b): return a + b",
        ["def check(candidate):\n    for i in range(5):\n        assert candidate(i, i) == 2 * i",
         "check(add)"],
    ),
}  # fmt: skip


@pytest.mark.slow
def test_every_honest_program_is_paid() -> None:
    def one(case: tuple[str, list[str]]) -> Score:
        entry = "Stack" if "class Stack" in case[0] else "add"
        return judged(case[0], asserts(case[1], entry))

    with ThreadPoolExecutor(6) as threads:
        scores = dict(zip(HONEST, threads.map(one, HONEST.values()), strict=True))
    assert {n: s.evidence or s.error for n, s in scores.items() if s.value != 1.0} == {}


FUNCTION = {"kind": "function", "entry_point": "f"}


@pytest.mark.parametrize(
    ("body", "expected", "value"),
    [
        ("return 3", 3, 1.0),
        ("return 3.0", 3, 0.0),
        ("return True", 1, 0.0),
        ("return 1", True, 0.0),
        ("return '3'", 3, 0.0),
        ("return 0.1 + 0.2", 0.3, 1.0),
        ("return 0.3001", 0.3, 0.0),
        ("return 2", 2.0, 1.0),
        ("return (1, [2])", [1, [2]], 1.0),
        ("return {1, 2}", [1, 2], 0.0),
        ("return {1: 'a'}", {"1": "a"}, 1.0),
        ("return {1: 'a', '1': 'a'}", {"1": "a"}, 0.0),
        ("return '\\ud800'", "\ud800", 1.0),
        ("return -0.0", 0.0, 1.0),
        ("return 10 ** 3000", 10**3000, 1.0),
        ("return float('nan')", float("nan"), 1.0),
        ("pass", None, 1.0),
    ],
)
def test_results_of_functions_keep_their_types(body: str, expected: Any, value: float) -> None:
    gold = {**FUNCTION, "tests": [{"args": [], "expected": expected}]}
    assert judged(f"def f():\n    {body}\n", gold).value == value


def test_credit_is_all_or_the_share_and_visible_tests_are_told_apart() -> None:
    tests = [{"args": [n], "expected": n * n, "visible": n < 2} for n in range(4)]
    gold = {**FUNCTION, "tests": tests}
    program = "def f(n): return n * n if n != 3 else 1 / 0"
    assert judged(program, gold).value == 0.0
    score = judged(program, gold, credit="fraction")
    assert (score.value, score.solved) == (0.75, False)
    assert score.parts == {
        "code_passes": 0.75,
        "code_passes/visible": 1.0,
        "code_passes/hidden": 0.5,
    }
    assert "ZeroDivisionError" in score.evidence


def test_a_test_that_hangs_or_dies_costs_only_itself() -> None:
    tests = [{"args": [n], "expected": n} for n in range(4)]
    program = (
        "import os\ndef f(n):\n    if n == 1: os._exit(0)\n    while n == 2: pass\n    return n"
    )
    score = judged(
        program,
        {**FUNCTION, "tests": tests},
        credit="fraction",
        limits=CodeLimits(test_s=0.5, total_s=5.0),
    )
    assert score.value == 0.5


FILE = """
import unittest
import pytest
from solution import area, Empty

class TestArea(unittest.TestCase):
    def test_square(self):
        self.assertEqual(area(2, 3), 6)
    def test_raises(self):
        with self.assertRaises(Empty):
            area(0, 1)

@pytest.mark.parametrize("a, b, c", [(1, 1, 1), (2, 0.5, pytest.approx(1.0))])
def test_table(a, b, c):
    assert area(a, b) == c
"""
RIGHT = (
    "class Empty(Exception): pass\ndef area(a, b):\n    if not a: raise Empty\n    return a * b\n"
)


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (RIGHT, 1.0),
        (RIGHT.replace("a * b", "a + b"), 0.25),
        (RIGHT.replace("raise Empty", "raise SystemExit"), 0.75),
        (
            "import unittest\nunittest.TestCase.assertEqual = print\n" + RIGHT.replace("*", "+"),
            0.25,
        ),
        ("import os; os._exit(0)", 0.0),
        ("def area(a, b): return a * b", 0.0),
    ],
    ids=["right", "wrong", "exits", "patches unittest", "dies", "lacks a name"],
)
def test_files_of_unittest_and_pytest(program: str, value: float) -> None:
    gold = {"kind": "files", "tests": {"test_area.py": FILE}}
    assert judged(program, gold, credit="fraction").value == value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("c", '#include <stdio.h>\nint main(){int a,b;scanf("%d%d",&a,&b);printf("%d\\n",a+b);}'),
        ("cpp", "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b;}"),
        (
            "javascript",
            "const [a,b]=require('fs').readFileSync(0,'utf8').split(' ').map(Number);"
            "console.log(a+b)",
        ),
        ("shell", "read a b; echo $((a + b))"),
    ],
)
def test_other_languages_read_and_print(language: str, program: str) -> None:
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "5 -5\n", "output": "0\n"}]
    gold = {"kind": "stdio", "language": language, "tests": tests}
    right = judged(program, gold, limits=CodeLimits(memory_mib=1024))
    if right.value is None:  # told plainly where the compiler is missing
        assert right.error is not None
        assert "the sandbox has no" in right.error.message
        return
    assert right.value == 1.0
    wrong = judged(program.replace("+", "-"), gold, limits=CodeLimits(memory_mib=1024))
    assert wrong.value == 0.0


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("'0.5  '", 1.0),
        ("'0.5\\n\\n'", 1.0),
        ("'0.50000001'", 1.0),
        ("'0.6'", 0.0),
        ("'0.5 0.5'", 0.0),
        ("'nan'", 0.0),
        ("' 0.5'", 0.0),
    ],
)
def test_output_is_compared_line_by_line(printed: str, value: float) -> None:
    gold = {"kind": "stdio", "tests": [{"input": "", "output": "0.5\r\n"}]}
    assert judged(f"print({printed})", gold).value == value


BAD = {
    "not a mapping": (3, "as a mapping"),
    "an unknown kind": ({"kind": "proof", "tests": ["x"]}, "Kinds: asserts"),
    "not Python": (asserts(["assert add(1"]), "not Python"),
    "no expected": ({**FUNCTION, "tests": [{"args": []}]}, "args and expected"),
    "no tests": (asserts([]), "at least|list of tests"),
    "a package that is not there": (
        asserts(["import numpy_x as n", "x = 1"]),
        "cannot be run here",
    ),
    "files without a test": ({"kind": "files", "tests": {"a.py": "x = 1"}}, "hold no test"),
}


@pytest.mark.parametrize(("gold", "message"), BAD.values(), ids=BAD)
def test_tests_that_cannot_judge_leave_it_unscored(gold: Any, message: str) -> None:
    import re

    score = judged("def add(a, b): return 1", gold)
    assert score.value is None
    assert score.error is not None
    assert score.error.kind is ErrorKind.BAD_GOLD
    assert re.search(message, score.error.message)


def test_a_sandbox_that_is_lost_or_missing_is_unscored_not_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = judged("x", asserts(ADD), sandbox=SandboxSpec(require={"vm"}))
    assert missing.value is None
    assert missing.error is not None
    assert missing.error.kind is ErrorKind.LOST
    from proofgym.sandboxes import Pool

    tries: list[int] = []

    async def lost(self: Pool, *_: Any, **__: Any) -> Any:
        tries.append(1)
        raise SandboxLost("the slot died")

    monkeypatch.setattr(Pool, "python", lost)
    score = judged("def add(a, b): return a + b", asserts(ADD))
    assert (score.value, len(tries)) == (None, 2)


@pytest.mark.slow
def test_many_judgements_at_once_from_an_event_loop() -> None:
    verifier = code_passes(limits=CodeLimits(test_s=10.0, total_s=60.0))
    right, wrong = "```python\ndef add(a, b):\n    return a + b\n```", "def add(a, b): return a"
    task = Task(id="t", prompt="", answer=Secret(asserts(ADD)))

    async def all_of_them() -> list[Score]:
        said = [Transcript(messages=(assistant(t),)) for t in (right, wrong) * 100]
        return await asyncio.gather(*(verifier.ascore(task, one) for one in said))

    assert [score.value for score in asyncio.run(all_of_them())] == [1.0, 0.0] * 100


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("x = 1", "x = 1"),
        ("a\n```python\nx = 1\n```\nb\n```\ny\n```", "y\n"),
        ("```py\nx = 1\n", "x = 1\n"),
        ("<think>```\nz\n```</think>\n```python\nx\n```", "x\n"),
        ("~~~\ns = '''\n```\n'''\n~~~", "s = '''\n```\n'''\n"),
    ],
)
def test_the_program_is_the_last_block(text: str, program: str) -> None:
    from proofgym.verifiers.code.program import program_of

    assert program_of(text) == program


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("def twice(n):\n    return 2 * n\n", 1.0),
        ("def twice(n):\n    return n\n", 0.0),
        (None, 0.0),
    ],
    ids=["right", "wrong", "nothing"],
)
def test_a_repository_is_judged_by_what_the_policy_left_in_its_sandbox(
    written: str | None, value: float
) -> None:
    import proofgym as pg

    tests = {"test_m.py": "from pkg.m import twice\ndef test_it():\n    assert twice(4) == 8\n"}
    gold = {"kind": "repository", "tests": tests, "root": "src"}

    class Repository(pg.Env):
        tasks = [pg.Task(id="t", prompt="mend it", answer=Secret(gold))]  # noqa: RUF012
        tools = (pg.bash_tool(),)
        rubric = pg.code_passes()

    env = Repository()
    env.reset(seed=1)
    if written is not None:
        command = f"mkdir -p src/pkg; printf '%s' '{written}' > src/pkg/m.py; touch conftest.py"
        command = command.replace("\\'", "'")
        assert env.step(assistant("", pg.tool_call("bash", command=command)))[0] == ""
    reward, info = (last := env.step("done"))[1], last[4]
    assert (reward, info["score"]) == (value, value), info


NUMBER_LIKE = (
    "class Z:\n"
    "    def __sub__(self, o): return 0.0\n"
    "    __rsub__ = __mul__ = __truediv__ = __sub__\n"
    "    def __abs__(self): return 0.0\n"
    "    def __bool__(self): return True\n"
    "    def __contains__(self, o): return True\n"
    "def area(r): return Z()\n"
)


@pytest.mark.parametrize(
    "gold",
    [
        asserts(["import math", "assert abs(area(1) - math.pi) < 1e-6"], "area"),
        asserts(["x = area(1)", "assert not x - 3.14"], "area"),
        asserts(["x = area(1)", "assert 3 in x"], "area"),
        asserts(
            [
                "import unittest",
                "class T(unittest.TestCase):\n"
                "    def test_a(self): self.assertAlmostEqual(area(1), 3.1415926, places=5)",
                "r = unittest.TextTestRunner().run("
                "unittest.defaultTestLoader.loadTestsFromTestCase(T))",
                "assert r.wasSuccessful()",
            ],
            "area",
        ),
        {
            "kind": "files",
            "tests": {
                "test_a.py": "import unittest\nfrom decimal import Decimal\n"
                "from solution import area\n"
                "class T(unittest.TestCase):\n"
                "    def test_a(self): self.assertAlmostEqual(area(1), 3.1415926, places=5)\n"
                "def test_b(): assert abs(area(1) - 3.1415926) < 1e-6\n"
            },
        },
    ],
    ids=["tolerance", "difference", "membership", "unittest", "files"],
)
def test_operators_of_the_programs_objects_decide_nothing_about_data(gold: Any) -> None:
    assert judged(NUMBER_LIKE, gold).value == 0.0


def test_operators_of_a_class_under_test_are_the_task() -> None:
    program = (
        "class Vec:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def __mul__(self, k): return Vec(self.x * k)\n"
        "    __rmul__ = __mul__\n"
        "    def __eq__(self, o): return isinstance(o, Vec) and self.x == o.x\n"
        "    def __bool__(self): return self.x != 0\n"
        "    def __contains__(self, v): return v == self.x\n"
        "    def __lt__(self, o): return self.x < o.x\n"
    )
    tests = [
        "assert Vec(2) * 3 == 3 * Vec(2) == Vec(6)",
        "assert not Vec(0) and Vec(1)",
        "assert 4 in Vec(4)",
        "assert sorted([Vec(3), Vec(1)])[0].x == 1",
    ]
    score = judged(program, asserts(tests, "Vec"))
    assert score.value == 1.0, score.evidence
