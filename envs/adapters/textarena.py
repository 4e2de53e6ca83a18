"""textarena/NAME-v0: TextArena's games for one player, each variant one environment.

``pip install 'proofgym[textarena]'``. ``textarena/mastermind-hard-v0`` is TextArena's
``Mastermind-v0-hard``. Rewards are the games' own: 1 for a win, and most pay a share for progress.
"""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.errors import EnvError
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Task, user

HELDOUT = 0.1
MAX_MOVE = 4_000
"""Characters of a message that a game reads, the last ones: its patterns take quadratic time."""
GAMES = {
    "2048": "3x3 5x5 6x6 8x8 10x10 mega-easy ultra-easy super-easy very-easy easy hard very-hard "
    "extreme",
    "Bandit": "hard",
    "Blackjack": "long",
    "Crosswords": "hardcore",
    "FifteenPuzzle": "",
    "FrozenLake": "random hardcore",
    "GuessTheNumber": "hardcore",
    "LightsOut": "",
    "LogicPuzzle": "hard",
    "Mastermind": "hard extreme",
    "Minesweeper": "small medium hard",
    "PegJump": "",
    "RushHour": "",
    "Secretary": "long",
    "Set": "",
    "Sudoku": "very-easy easy medium hard",
    "TowerOfHanoi": "medium hard hardcore extreme",
}
"""Games for one player that TextArena 0.7.4 plays without a network, with their variants.

Left out: what asks a language model (TwentyQuestions, GuessWho), what needs nltk's word lists
(Wordle, Hangman, WordLadder, WordSearch, SpellingBee; with them `textarena_environment` plays
these), and what is broken: Countdown, Cryptarithm, Slitherlink and ThreeCardMonte pass their own
functions the wrong arguments, Klondike is no valid Python before 3.12, Sokoban may search for a
puzzle for minutes.
"""
_one_at_a_time = threading.Lock()


class Game:
    """One game of one player, which draws from random generators of its own.

    TextArena seeds and draws from Python's and numpy's global generators. They are swapped for
    the game's while it works, so that games side by side do not disturb one another.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._generators = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()
        with self._own_generators():
            try:
                import textarena  # under the generators of its own, too: it draws some
            except ImportError:
                raise EnvError(
                    "expected the package textarena, got none. Run: "
                    "pip install 'proofgym[textarena]'"
                ) from None
            try:
                with redirect_stdout(StringIO()):  # RushHour prints how its search goes
                    self._game: Any = textarena.make(f"{name}-raw")
                    self._game.reset(num_players=1, seed=seed)
            except Exception as error:
                why = " ".join(str(error).replace("*", "").split())
                raise EnvError(
                    f"expected TextArena to start {name} for one player, got "
                    f"{type(error).__name__}: {why:.300}"
                ) from error
            self.opening = self._told()

    def say(self, text: str) -> str:
        """Make a move with the end of a text, and return what the game says to it."""
        with self._own_generators():
            self._game.step(text[-MAX_MOVE:])
            return self._told()

    @property
    def reward(self) -> float | None:
        """What the game paid; None before its end."""
        if not self._game.state.done:
            return None
        return float(self._game.state.rewards[0])

    def _told(self) -> str:
        """Return what is new, without the player's own words; at the end, why it ended."""
        from textarena import ObservationType

        _, heard = self._game.get_observation()
        told = [str(text) for _, text, kind in heard if kind is not ObservationType.PLAYER_ACTION]
        if self._game.state.done:
            told.append(str(self._game.state.game_info[0].get("reason") or "The game is over."))
        return "\n".join(told)

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        with _one_at_a_time:
            outside = random.getstate(), np.random.get_state()
            random.setstate(self._generators[0])
            np.random.set_state(self._generators[1])
            try:
                yield
            finally:
                self._generators = random.getstate(), np.random.get_state()
                random.setstate(outside[0])
                np.random.set_state(outside[1])


def textarena_environment(id: str, game: str, *, turns: int = 200, oracle: Any = None) -> type[Env]:
    """Declare an environment that plays a game of TextArena's for one player.

    A task is a seed; a tenth of them is held out.

    Args:
        id: such as ``mine/wordle-v0``.
        game: TextArena's own id, such as ``Wordle-v0``.
        turns: at most; the games have limits of their own, too.
        oracle: a scripted policy, as in Env.
    """

    def pose(rng: np.random.Generator, index: int) -> Task:
        seed = int(rng.integers(2**31))
        return Task(id=f"seed-{seed}", prompt="Play this game.", data={"seed": seed})

    def start(self: Env, episode: Session) -> None:
        episode.state["game"] = Game(game, episode.task.data["seed"])
        episode.messages.append(user(episode.state["game"].opening))

    def step(self: Env, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        played: Game = self.episode.state["game"]
        told = played.say(action)
        reward = played.reward
        if reward is None:
            return told, 0.0, False, False, {}
        return told, reward, True, False, {"solved": reward >= 1.0}

    body: dict[str, Any] = {
        "__doc__": f"TextArena's {game}: 1 for a win.",
        "__module__": __name__,
        "tasks": generated(pose, heldout=lambda task: content_share(task.id) < HELDOUT),
        "limits": Limits(turns=turns, tool_calls=0, tokens=16_384, seconds=600),
        "start": start,
        "step": step,
        "best": 1.0,
        "oracle": oracle if oracle is None else staticmethod(oracle),
    }
    metaclass: Any = type(Env)
    made: type[Env] = metaclass("TextArena", (Env,), body, id=id)
    return made


def environment_id(game: str) -> str:
    """Return our id of a game: ``Mastermind-v0-hard`` is ``textarena/mastermind-hard-v0``."""
    name, _, variant = game.partition("-v0")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
    return f"textarena/{words}{variant}-v0"


_named = (
    f"{game}-v0{variant and '-'}{variant}"
    for game, variants in GAMES.items()
    for variant in ("", *variants.split())
)
ENVIRONMENTS = {game: textarena_environment(environment_id(game), game) for game in _named}
"""TextArena's id -> the environment."""
