"""Tools that work in a sandbox of the episode's own."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import proofgym as pg
from proofgym.envs import Blame, InfraError, Limits
from proofgym.sandboxes import SandboxLost, SandboxUnavailable, Workspace, open_sandbox


@pytest.fixture(scope="module", autouse=True)
def _sandbox_or_skip() -> None:
    from tests.sandboxes.conftest import unavailable

    try:
        open_sandbox().close()
    except SandboxUnavailable as error:
        unavailable(str(error))


@pg.tool
def python(code: str, box: pg.Sandbox) -> str:
    """Run Python."""
    return box.python(code).stdout


@pg.tool(timeout_s=0.3)
def hurried(code: str, box: pg.Sandbox) -> str:
    """Run Python, not for long."""
    return box.python(code).stdout


@pg.tool
async def read(path: str, box: pg.AsyncSandbox) -> str:
    """Read a file."""
    return (await box.read(path)).decode()


class Boxed(pg.Env):
    tasks = [pg.Task(id="t", prompt="p", answer=pg.Secret("1"))]  # noqa: RUF012
    tools = (python, hurried, read)
    rubric = pg.exact()
    limits = Limits(turns=50, tool_calls=50)


class Bundled(Boxed):
    tools = (
        pg.python_tool(stateful=True, timeout_s=1.0),
        pg.bash_tool(timeout_s=1.0),
        pg.python_tool(name="fresh"),
    )


def said(env: pg.Env, tool: str, **arguments: Any) -> str:
    return env.step(pg.assistant("", pg.tool_call(tool, **arguments)))[0]


def played(cls: type[pg.Env] = Boxed) -> pg.Env:
    env = cls()
    env.reset(seed=1)
    return env


def test_the_policy_never_sees_the_box() -> None:
    parameters = Boxed.tools_by_name["python"].signature.schema["function"]["parameters"]
    assert list(parameters["properties"]) == ["code"]
    arguments = {"code": "1", "box": "mine"}
    assert "box" in said(played(), "python", **arguments)


def test_an_episode_without_a_tool_call_opens_no_sandbox() -> None:
    env = played()
    assert env.step("1")[1] == 1.0
    assert not env.episode.workspace.opened


def test_sync_and_async_tools_share_the_episodes_files() -> None:
    env = played()
    assert said(env, "python", code="open('a', 'w').write('é'); print(1)") == "1\n"
    assert said(env, "read", path="a") == "é"
    assert said(env, "read", path="b").startswith("error: sandbox file 'b'")  # the policy's doing


def test_the_native_face_runs_tools_of_many_episodes_at_once() -> None:
    async def one(number: int) -> str:
        env = Boxed()
        await env.areset(seed=number)
        write = pg.tool_call("python", code=f"open('a', 'w').write('{number}')")
        await env.astep(pg.assistant("", write))
        last = await env.astep(pg.assistant("", pg.tool_call("read", path="a")))
        env.close()
        return last.messages[0].content

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(6)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(6)]


def test_step_works_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> str:
        return said(played(), "python", code="print(7)")

    assert asyncio.run(cell()) == "7\n"


def test_forks_and_snapshots_have_the_files_and_go_apart() -> None:
    env = played()
    said(env, "python", code="open('a', 'w').write('1')")
    snapshot = env.snapshot()
    one, two = env.fork(2)
    said(one, "python", code="open('a', 'a').write('2')")
    assert [said(e, "read", path="a") for e in (env, one, two)] == ["1", "12", "1"]
    said(env, "python", code="import os; os.remove('a')")
    before = env.episode.workspace
    env.restore(snapshot)
    assert said(env, "read", path="a") == "1"
    assert not before.opened
    assert said(one, "read", path="a") == "12"


def test_the_sandbox_ends_with_the_episode_the_reset_and_close() -> None:
    env = played()
    for end in (lambda: env.step("1"), lambda: env.reset(seed=2), env.close):
        env.reset(seed=1)
        said(env, "python", code="print(1)")
        workspace = env.episode.workspace
        assert workspace.opened
        end()
        assert not workspace.opened


def test_a_tool_past_its_limit_is_the_policys_and_its_program_ends() -> None:
    env = played()
    loop = "import time\nwhile True:\n    open('beat', 'w').write(str(time.time()))"
    assert said(env, "hurried", code=loop) == "error: hurried took longer than 0.3 s"
    first = said(env, "python", code="import time; time.sleep(0.1); print(open('beat').read())")
    assert said(env, "python", code="print(open('beat').read())") == first


class Broken(Workspace):
    async def bridged(self, calls: Any = None) -> Any:
        raise SandboxLost("the host went away")

    def blocking(self, calls: Any = None) -> Any:
        raise SandboxLost("the host went away")


@pytest.mark.parametrize("tool", ["python", "read"])
def test_a_broken_sandbox_is_never_the_policys_fault(tool: str) -> None:
    async def play() -> pg.Transition:
        env = Boxed()
        await env.areset(seed=1)
        env.episode.workspace = Broken()
        call = pg.tool_call(tool, **{"python": {"code": "1"}, "read": {"path": "a"}}[tool])
        return await env.astep(pg.assistant("", call))

    last = asyncio.run(play())
    assert last.stop is pg.Stop.INFRA_ERROR
    assert last.score is not None
    assert last.score.value is None
    assert last.fault is not None
    assert last.fault.blame is Blame.INFRASTRUCTURE
    assert "the host went away" in last.fault.message


def test_a_start_that_loses_its_sandbox_may_be_retried() -> None:
    class Unlucky(Boxed):
        def start(self, episode: pg.Session) -> None:
            raise SandboxLost("gone")

    with pytest.raises(InfraError, match="gone"):
        Unlucky().reset(seed=1)


def test_start_can_fill_the_sandbox() -> None:
    class Filled(Boxed):
        async def start(self, episode: pg.Session) -> None:
            await (await episode.abox()).upload({"data/x.txt": b"42"})

    assert said(played(Filled), "read", path="data/x.txt") == "42"


def test_python_and_bash_keep_their_state_and_say_when_it_is_lost() -> None:
    env = played(Bundled)
    assert said(env, "python", code="x = 5\nx + 1") == "6"
    assert said(env, "python", code="x") == "5"
    assert said(env, "bash", command="cd /tmp; y=3") == ""
    assert said(env, "bash", command="pwd; echo $y; exit 3") == (
        "/tmp\n3\n[exit code 3]\n[started afresh: earlier variables are gone]"
    )
    assert said(env, "fresh", code="print(x)").endswith(
        "NameError: name 'x' is not defined\n[exit code 1]"
    )
    assert "[stopped: it took too long]" in said(env, "python", code="while True: pass")
    assert said(env, "python", code="x") == "5"
    twin = env.fork(1)[0]
    assert "NameError" in said(twin, "python", code="x")


def test_a_program_that_made_sandboxes_exits_quietly() -> None:
    code = (
        "import proofgym as pg; env = pg.make('tools/python-v0'); env.reset(seed=1);"
        "print(env.step(pg.assistant('', pg.tool_call('python', code='2+3')))[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("5\n", "")
