"""games/grid-world-v0: find the way through a maze, one move a turn."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import generated
from proofgym.verifiers import Message, Role, Task

MOVE_COST: Final = 0.01
MOVES: Final[Mapping[str, tuple[int, int]]] = {
    "up": (-1, 0),
    "down": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
}
LEVELS: Final[Mapping[str, int]] = {"small": 4, "medium": 5, "large": 7}
WALLS: Final = 0.28
Cell = tuple[int, int]
_INTRODUCTION: Final = (
    "Walk from @ to G. # is a wall. Say up, down, left or right, one word a turn. Each turn costs "
    "0.01, and reaching G pays 1."
)


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make a maze of the index's size in which the goal can be reached."""
    level = list(LEVELS)[index % len(LEVELS)]
    size = LEVELS[level]
    while True:
        walls = rng.random((size, size)) < WALLS
        start, goal = ((int(r), int(c)) for r, c in rng.integers(0, size, (2, 2)))
        walls[start] = walls[goal] = False
        rows = ["".join("#" if wall else "." for wall in row) for row in walls]
        path = shortest(rows, start, goal)
        if path is not None and len(path) >= size - 1:
            break
    return Task(
        id=f"{'/'.join(rows)} {start} to {goal}",
        prompt=f"{_INTRODUCTION}\n{drawn(rows, start, goal)}",
        data={"rows": rows, "start": list(start), "goal": list(goal), "shortest": len(path)},
        difficulty=level,
    )


def drawn(rows: Sequence[str], at: Cell, goal: Cell) -> str:
    """Draw a maze."""
    cells = [list(row) for row in rows]
    cells[goal[0]][goal[1]] = "G"
    cells[at[0]][at[1]] = "@"
    return "\n".join("".join(row) for row in cells)


def moved(rows: Sequence[str], at: Cell, word: str) -> Cell | None:
    """Return the cell that a move leads to; None for a wall or the edge."""
    row, column = at[0] + MOVES[word][0], at[1] + MOVES[word][1]
    inside = 0 <= row < len(rows) and 0 <= column < len(rows[0])
    return (row, column) if inside and rows[row][column] != "#" else None


def shortest(rows: Sequence[str], start: Cell, goal: Cell) -> list[str] | None:
    """Find a shortest way, breadth first; None where there is none."""
    came: dict[Cell, list[str]] = {start: []}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        if at == goal:
            return came[at]
        for word in MOVES:
            after = moved(rows, at, word)
            if after is not None and after not in came:
                came[after] = [*came[at], word]
                waiting.append(after)
    return None


def walk(task: Task, messages: Sequence[Message]) -> str:
    """Walk a shortest way."""
    rows, start, goal = task.data["rows"], tuple(task.data["start"]), tuple(task.data["goal"])
    path = shortest(rows, start, goal) or []
    turn = sum(message.role is Role.ASSISTANT for message in messages)
    return path[turn] if turn < len(path) else "up"


def best(task: Task) -> float:
    """Pay for a shortest way."""
    return 1.0 - MOVE_COST * int(task.data["shortest"])


class GridWorld(Env, id="games/grid-world-v0"):
    """Walk through a maze to the goal: 1 at the end, and 0.01 off for every turn.

    A move into a wall, and a text that is no move, leave the walker where it is.
    """

    tasks = generated(pose)
    limits = Limits(turns=40, tool_calls=0, tokens=2048, seconds=120)
    oracle = walk
    best = best

    def start(self, episode: Session) -> None:
        """Stand at the start."""
        episode.state["at"] = tuple(episode.task.data["start"])

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make one move."""
        data, state = self.episode.task.data, self.episode.state
        goal, word = tuple(data["goal"]), action.strip().lower()
        if word not in MOVES:
            return "say up, down, left or right", -MOVE_COST, False, False, {}
        after = moved(data["rows"], state["at"], word)
        if after == goal:
            return "you are there", 1.0 - MOVE_COST, True, False, {"solved": True}
        if after is None:
            return "a wall is in the way", -MOVE_COST, False, False, {}
        state["at"] = after
        return drawn(data["rows"], after, goal), -MOVE_COST, False, False, {}
