"""An environment on a small server that speaks OpenEnv's protocol."""

import json
import threading
from collections.abc import Iterator

import pytest

from proofgym.envs import Env, EnvError, InfraError
from proofgym.envs.adapters.openenv import openenv_environment

websockets = pytest.importorskip("websockets", reason="needs pip install 'proofgym[openenv]'")


def count_down(socket: "object") -> None:
    """Serve one episode: say how many steps are left, and pay 1 at the end."""
    left = 0
    for raw in socket:  # type: ignore[attr-defined]
        message = json.loads(raw)
        if message["type"] == "reset":
            left = 2 + message["data"]["seed"] % 2
            reply = {"observation": {"left": left}, "reward": None, "done": False}
        elif message["data"]["word"] == "break":
            socket.send(json.dumps({"type": "error", "data": {"message": "broken"}}))  # type: ignore[attr-defined]
            continue
        else:
            left -= message["data"]["word"] == "down"
            reply = {"observation": {"left": left}, "reward": float(not left), "done": not left}
        socket.send(json.dumps({"type": "observation", "data": reply}))  # type: ignore[attr-defined]


def word(text: str) -> dict[str, str]:
    if not text:
        raise ValueError("Say a word.")
    return {"word": text}


@pytest.fixture(scope="module")
def environment() -> Iterator[type[Env]]:
    from websockets.sync.server import serve

    with serve(count_down, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        yield openenv_environment(
            "test/count-down-v0", f"http://127.0.0.1:{port}", prompt="Count down.", action=word
        )
        server.shutdown()
        thread.join()


def test_the_servers_rewards_and_ends_are_the_episodes(environment: type[Env]) -> None:
    env = environment()
    opening, _ = env.reset(seed=1)
    left = json.loads(opening.partition("\n\n")[2])["left"]
    assert env.step("")[:3] == ("Say a word.", 0.0, False)
    assert env.step("up")[0] == json.dumps({"left": left})
    steps = [env.step("down") for _ in range(left)]
    assert [step[1] for step in steps] == [0.0] * (left - 1) + [1.0]
    assert [step[2] for step in steps] == [False] * (left - 1) + [True]


def test_two_episodes_are_two_sessions_that_cannot_be_copied(environment: type[Env]) -> None:
    one, two = environment(), environment()
    one.reset(seed=1)
    opening, _ = two.reset(seed=1)
    one.step("down")
    assert two.step("up")[0] == opening.partition("\n\n")[2]
    with pytest.raises(EnvError, match="cannot be snapshot"):
        one.snapshot()
    with pytest.raises(InfraError, match="broken"):
        two.step("break")
    for env in (one, two):
        env.episode.state["server"].close()


def test_a_server_that_is_not_there_is_an_infrastructure_fault() -> None:
    cls = openenv_environment("test/gone-v0", "http://127.0.0.1:9", prompt="?", action=word)
    with pytest.raises(InfraError, match="expected an OpenEnv server at"):
        cls().reset(seed=1)
