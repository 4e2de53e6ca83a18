"""games/tic-tac-toe-v0: against an opponent that sees one move ahead."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Message, Secret, Task

ILLEGAL: Final = -0.1
DRAW: Final = 0.5
EMPTY: Final = "." * 9
LINES: Final = (
    (0, 1, 2),
    (3, 4, 5),
    (6, 7, 8),
    (0, 3, 6),
    (1, 4, 7),
    (2, 5, 8),
    (0, 4, 8),
    (2, 4, 6),
)
_PROMPT: Final = (
    "You play X against O. Say the number of a free square, 1 to 9, one a turn:\n{}\nA win pays 1 "
    "and a draw 0.5."
)


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make an opponent: the order in which it likes the squares, and whether it begins."""
    likes = "".join(str(n) for n in rng.permutation(9))
    begins = bool(rng.integers(2))
    board = reply(EMPTY, likes) if begins else EMPTY
    level = "second" if begins else "first"
    return Task(
        id=f"{content_share(f'opponent {likes} {level}'):.12f}"[2:],
        prompt=_PROMPT.format(drawn(board)),
        hidden={"likes": Secret(likes)},
        data={"board": board},
        difficulty=level,
    )


def opponent_is_heldout(task: Task) -> bool:
    """Hold out a fifth of the opponents: the prompt shows at most their first move."""
    return content_share(f"split {task.id}") < 0.2


def drawn(board: str) -> str:
    """Draw a board; a free square has its number."""
    cells = [str(place + 1) if mark == "." else mark for place, mark in enumerate(board)]
    return "\n".join(" ".join(cells[row : row + 3]) for row in (0, 3, 6))


def won(board: str, mark: str) -> bool:
    """Whether a mark has three in a line."""
    return any(all(board[place] == mark for place in line) for line in LINES)


def placed(board: str, place: int, mark: str) -> str:
    """Put a mark on a square."""
    return board[:place] + mark + board[place + 1 :]


def reply(board: str, likes: str) -> str:
    """Move as the opponent does: win, else prevent a win, else take the square it likes best."""
    free = [int(place) for place in likes if board[int(place)] == "."]
    for mark in "OX":
        for place in free:
            if won(placed(board, place, mark), mark):
                return placed(board, place, "O")
    return placed(board, free[0], "O")


@lru_cache(maxsize=100_000)
def prospect(board: str, likes: str) -> tuple[float, int]:
    """Work out what X can still get, and the square to take for it."""
    found = (-1.0, -1)
    for place in range(9):
        if board[place] == ".":
            worth = _worth(placed(board, place, "X"), likes)
            if worth > found[0]:
                found = (worth, place)
    return found


def _worth(board: str, likes: str) -> float:
    if won(board, "X"):
        return 1.0
    if "." not in board:
        return DRAW
    answered = reply(board, likes)
    if won(answered, "O"):
        return 0.0
    return prospect(answered, likes)[0] if "." in answered else DRAW


def foresee(task: Task, messages: Sequence[Message]) -> str:
    """Play the best moves against this opponent, which an oracle knows."""
    board, likes = str(task.data["board"]), str(task.hidden["likes"].reveal())
    said = [m.content for m in messages if m.role.value == "assistant"]
    for move in said:
        board = reply(placed(board, int(move) - 1, "X"), likes)
    return str(prospect(board, likes)[1] + 1)


def best(task: Task) -> float:
    """Say what the best moves get."""
    return prospect(str(task.data["board"]), str(task.hidden["likes"].reveal()))[0]


class TicTacToe(Env, id="games/tic-tac-toe-v0"):
    """Beat an opponent at tic-tac-toe that wins or prevents a win, and plans no further.

    Which square it likes best differs from task to task. A win pays 1, a draw 0.5 (and counts as
    solved only where there was no more to get). A text that is no free square costs 0.1.
    """

    tasks = generated(pose, heldout=opponent_is_heldout)
    limits = Limits(turns=8, tool_calls=0, tokens=256, seconds=120)
    oracle = foresee
    best = best

    def start(self, episode: Session) -> None:
        """Set up the board."""
        episode.state["board"] = episode.task.data["board"]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make one move, and let the opponent answer."""
        task, state, text = self.episode.task, self.episode.state, action.strip()
        board = state["board"]
        if len(text) != 1 or text not in "123456789" or board[int(text) - 1] != ".":
            return "say the number of a free square", ILLEGAL, False, False, {}
        board = placed(board, int(text) - 1, "X")
        if won(board, "X"):
            return f"{drawn(board)}\nyou win", 1.0, True, False, {"solved": True}
        if "." in board:
            board = reply(board, str(task.hidden["likes"].reveal()))
        if won(board, "O"):
            return f"{drawn(board)}\nyou lose", 0.0, True, False, {"solved": False}
        if "." not in board:
            solved = best(task) <= DRAW
            return f"{drawn(board)}\na draw", DRAW, True, False, {"solved": solved}
        state["board"] = board
        return drawn(board), 0.0, False, False, {}
