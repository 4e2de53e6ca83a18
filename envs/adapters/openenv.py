"""Environments that an OpenEnv server runs, played in words.

``pip install 'proofgym[openenv]'``. The protocol is OpenEnv's sessions over WebSocket: one
connection is one episode (meta-pytorch/OpenEnv, src/openenv/core/env_client.py).
"""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.errors import EnvError, InfraError
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Task, user

HELDOUT = 0.1
Json = Mapping[str, Any]


def as_json(observation: Json) -> str:
    """Say an observation as JSON."""
    return json.dumps(observation, ensure_ascii=False)


class OpenEnvSession:
    """One episode on a server. It cannot be copied, so neither can the episode's snapshots."""

    def __init__(self, url: str, timeout_s: float) -> None:
        try:
            from websockets.sync.client import connect
        except ImportError:
            raise EnvError(
                "expected the package websockets, got none. Run: pip install 'proofgym[openenv]'"
            ) from None
        self._timeout_s = timeout_s
        self._open = ExitStack()
        address = url.rstrip("/").replace("http", "ws", 1) + "/ws"
        try:
            self._socket: Any = self._open.enter_context(
                connect(address, open_timeout=timeout_s, max_size=100 << 20, proxy=None)
            )
        except OSError as error:
            raise InfraError(
                f"expected an OpenEnv server at {url}, got {type(error).__name__}: {error}."
            ) from error

    def ask(self, kind: str, message: Json) -> Json:
        """Send a message, and return the data of its reply: observation, reward, done.

        Raises:
            InfraError: the server is gone, too slow, or reports an error.
        """
        from websockets.exceptions import WebSocketException

        try:
            self._socket.send(json.dumps({"type": kind, "data": message}))
            reply = json.loads(self._socket.recv(timeout=self._timeout_s))
        except (OSError, ValueError, WebSocketException) as error:
            raise InfraError(
                f"the OpenEnv server was lost: {type(error).__name__}: {error}."
            ) from error
        found: Json = reply.get("data") or {}
        if reply.get("type") != "observation" or "observation" not in found:
            raise InfraError(f"expected an observation of the OpenEnv server, got {reply!r:.300}.")
        return found

    def close(self) -> None:
        """End the episode on the server."""
        self._open.close()

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise EnvError("an episode on an OpenEnv server cannot be snapshot or forked.")


def openenv_environment(
    id: str,
    url: str,
    *,
    prompt: str,
    action: Callable[[str], Json],
    show: Callable[[Json], str] = as_json,
    turns: int = 50,
    timeout_s: float = 60.0,
    best: float | None = None,
    oracle: Any = None,
) -> type[Env]:
    """Declare an environment that a server plays.

    A task is a seed, which the server gets with ``reset``; a tenth of them is held out. The reward
    is the server's own.

    Args:
        id: such as ``mine/echo-v0``.
        url: of the server, such as ``http://127.0.0.1:8000``.
        prompt: what the policy is told first; the first observation follows it.
        action: makes the server's action of the policy's text; a ValueError's words are shown to
            the policy in place of a step.
        show: an observation in words.
        turns: at most.
        timeout_s: wall limit of one reply.
        best: what a perfect episode is worth.
        oracle: a scripted policy, as in Env.
    """

    def pose(rng: np.random.Generator, index: int) -> Task:
        seed = int(rng.integers(2**31))
        return Task(id=f"seed-{seed}", prompt=prompt, data={"seed": seed})

    def start(self: Env, episode: Session) -> None:
        session = OpenEnvSession(url, timeout_s)
        opening = session.ask("reset", {"seed": episode.task.data["seed"]})
        episode.state["server"] = session
        episode.messages.append(user(show(opening["observation"])))

    def step(self: Env, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        session: OpenEnvSession = self.episode.state["server"]
        try:
            chosen = action(text)
        except ValueError as error:
            return str(error), 0.0, False, False, {}
        found = session.ask("step", chosen)
        done = bool(found.get("done"))
        if done:
            session.close()
        return show(found["observation"]), float(found.get("reward") or 0.0), done, False, {}

    body: dict[str, Any] = {
        "__doc__": prompt.partition("\n")[0],
        "__module__": __name__,
        "tasks": generated(pose, heldout=lambda task: content_share(task.id) < HELDOUT),
        "limits": Limits(turns=turns, tool_calls=0, tokens=8192, seconds=600),
        "start": start,
        "step": step,
        "best": best,
        "oracle": oracle if oracle is None else staticmethod(oracle),
    }
    metaclass: Any = type(Env)
    made: type[Env] = metaclass("OpenEnv", (Env,), body, id=id)
    return made
