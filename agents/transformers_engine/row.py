"""One request while it is served, and afterwards while its keys and values are kept."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proofgym.agents.engine import Completion, Finish
from proofgym.agents.transformers_engine.trunk import Trunk
from proofgym.envs import Sampling


@dataclass(slots=True, eq=False)
class Row:
    """What the engine knows of one request.

    Args:
        prompt: its ids, int64.
        hashes: of every prefix of the prompt.
        sampling: how to draw.
        seed: as a 64-bit word.
        limit: the most tokens to draw; the context may make it smaller than ``max_tokens``.
        future: takes the completion.
        priority: while it waits, lower goes first.
        slot: -1 before it has one.
        lane: of the output buffers; fixed while it is sampled.
        cached: how many of ``prompt`` are in the slot already when it enters.
        trunk: the shared prompt that it reads, if any.
        base: how many of the trunk's positions are its own past; the slot holds what follows.
        kept_ids: once finished, the ids whose keys and values the slot holds.
        kept_hash: of ``kept_ids``.
        marks: the earlier weight versions, each with the number of tokens drawn when it ended.
        mixed: weights were loaded while it was sampled, so its keys and values are of two
            versions and nobody may go on from them.
    """

    prompt: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    sampling: Sampling
    seed: np.uint64
    limit: int
    future: asyncio.Future[Completion]
    priority: int = 0
    slot: int = -1
    lane: int = -1
    cached: int = 0
    trunk: Trunk | None = None
    base: int = 0
    kept_ids: NDArray[np.int64] | None = None
    kept_hash: int = 0
    marks: list[tuple[int, int]] = field(default_factory=list)
    mixed: bool = False

    @property
    def unread(self) -> int:
        """How many tokens of the prompt are not in the slot."""
        return len(self.prompt) - self.cached

    def completion(
        self,
        ids: NDArray[np.int64],
        logprobs: NDArray[np.float32],
        version: int,
        finish: Finish,
    ) -> Completion:
        """Put the result together; ``version`` drew the tokens behind the last mark."""
        versions = np.full(len(ids), version, dtype=np.int32)
        for end, earlier in reversed(self.marks):
            versions[:end] = earlier
        return Completion(
            ids=ids.astype(np.int32), logprobs=logprobs.copy(), versions=versions, finish=finish
        )


class RowState:
    """What a decoding step needs of every slot, as arrays; and what was drawn.

    Drawn tokens lie in lanes, which do not move when a row changes its slot.
    """

    _FIELDS = np.dtype(
        [
            ("length", np.int64),  # tokens whose keys and values are in the slot
            ("count", np.int64),  # tokens drawn
            ("last", np.int64),  # the token drawn last, not yet in the slot
            ("limit", np.int64),
            ("lane", np.int64),
            ("base", np.int64),  # how many of ``length`` are in the trunk
            ("trunk", np.int64),  # its slot, or -1
            ("stop", np.int64),  # which set of stop ids
            ("seed", np.uint64),
            ("temperature", np.float64),
        ]
    )

    def __init__(self, slots: int, lanes: int, vocab_size: int) -> None:
        self.slots = np.zeros(slots, dtype=self._FIELDS)
        self.slots["trunk"] = -1
        self.ids = np.zeros((lanes, 64), dtype=np.int64)
        self.logprobs = np.zeros((lanes, 64), dtype=np.float32)
        self._free_lanes = list(range(lanes))[::-1]
        self._vocab_size = vocab_size
        self._stop_sets: dict[tuple[int, ...], int] = {}
        self.stops = np.zeros((0, vocab_size), dtype=np.bool_)

    def enter(self, row: Row) -> None:
        """Set up a row that has its slot and the whole prompt to read."""
        row.lane = self._free_lanes.pop()
        if row.limit > self.ids.shape[1]:
            more = max(row.limit, 2 * self.ids.shape[1]) - self.ids.shape[1]
            self.ids = np.pad(self.ids, ((0, 0), (0, more)))
            self.logprobs = np.pad(self.logprobs, ((0, 0), (0, more)))
        self.slots[row.slot] = (
            len(row.prompt),
            0,
            0,
            row.limit,
            row.lane,
            row.base,
            -1 if row.trunk is None else row.trunk.slot,
            self._stop_set(row.sampling.stop_ids),
            row.seed,
            row.sampling.temperature,
        )

    def leave(self, row: Row) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Free the row's lane; give views of what was drawn."""
        count = int(self.slots["count"][row.slot])
        lane, row.lane = row.lane, -1
        self._free_lanes.append(lane)
        return self.ids[lane, :count], self.logprobs[lane, :count]

    def clear(self, slot: int) -> None:
        """Make an empty slot harmless to a step that computes it as a hole."""
        self.slots[slot] = 0
        self.slots["trunk"][slot] = -1

    def record(
        self, slots: NDArray[np.int64], tokens: NDArray[np.int64], logprobs: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Note one drawn token for each slot; tell which rows are done."""
        state = self.slots[slots]
        self.ids[state["lane"], state["count"]] = tokens
        self.logprobs[state["lane"], state["count"]] = logprobs
        self.slots["count"][slots] += 1
        self.slots["last"][slots] = tokens
        done: NDArray[np.bool_] = self.stops[state["stop"], tokens]
        return done | (state["count"] + 1 >= state["limit"])

    def stopped(self, slot: int) -> bool:
        """Whether the token drawn last is a stop token."""
        state = self.slots[slot]
        return bool(state["count"] and self.stops[state["stop"], state["last"]])

    def _stop_set(self, stop_ids: tuple[int, ...]) -> int:
        if stop_ids not in self._stop_sets:
            self._stop_sets[stop_ids] = len(self.stops)
            new = np.zeros((1, self._vocab_size), dtype=np.bool_)
            new[0, list(stop_ids)] = True
            self.stops = np.concatenate((self.stops, new))
        return self._stop_sets[stop_ids]
