"""The engine contract: token ids in, token ids and logprobs out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proofgym.agents.errors import EngineError
from proofgym.envs import Sampling


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # a stop token was sampled; it is the last id
    LENGTH = "length"  # max_tokens, or the engine's context, was reached
    ABORT = "abort"  # the engine was paused with abort, or the request was cancelled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """What an engine sampled.

    Args:
        ids: int32, the stop token included.
        logprobs: float32, of each id under the processed distribution (after temperature).
        versions: int32, the weight version that drew each token.
        finish: why it ended.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    versions: NDArray[np.int32]
    finish: Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What an engine says that it loaded, to be compared with what was sent.

    Args:
        version: of the weights.
        sums: the float64 sum of every tensor's values, by name.
        digest: of every name with its bytes, in the order of the names; in hex.
    """

    version: int
    sums: Mapping[str, float]
    digest: str


class Engine(Protocol):
    """Serve a policy. All methods may be called from one event loop only."""

    @property
    def max_context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        ...

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Sample one completion. Of requests that wait, a lower priority goes first.

        The draw depends on the prompt, the weights, the sampling and the seed, never on what
        else is being served. Cancelling the caller's task aborts the request.

        Raises:
            EngineError: the prompt is empty or longer than the context, or the engine is dead.
        """
        ...

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        """Take new weights; requests in flight continue under them unless paused with abort."""
        ...

    async def pause(self) -> None:
        """Stop sampling until :meth:`resume`; requests wait."""
        ...

    async def resume(self) -> None:
        """Sample again."""
        ...

    async def close(self) -> None:
        """Free everything; requests in flight end with ``Finish.ABORT``."""
        ...


def check_request(
    prompt_ids: Sequence[int], sampling: Sampling, max_context: int, vocab_size: int | None
) -> int:
    """Refuse what no engine can sample.

    Args:
        prompt_ids: of the model's vocabulary.
        sampling: how to draw.
        max_context: the most tokens of prompt and completion.
        vocab_size: None where it is not known here.

    Returns:
        How many tokens the context leaves room for.

    Raises:
        EngineError: the prompt or the sampling is out of range.
    """
    room = max_context - len(prompt_ids)
    if not len(prompt_ids):
        raise EngineError("A prompt needs at least one token, got none.")
    if room < 1:
        raise EngineError(
            f"A prompt must leave room for a token in max_context={max_context}, got "
            f"{len(prompt_ids)} tokens. Shorten it, or make the engine with a larger max_context."
        )
    least, most = min(prompt_ids), max(prompt_ids)
    last = "the vocabulary's last" if vocab_size is None else vocab_size - 1
    if least < 0 or (vocab_size is not None and most >= vocab_size):
        raise EngineError(
            f"Prompt ids must be from 0 to {last}, got {least} to {most}. Does the tokenizer "
            "belong to this model?"
        )
    if sampling.max_tokens < 1 or not 0 <= sampling.temperature < float("inf"):
        raise EngineError(
            "Sampling needs max_tokens of at least 1 and a finite temperature of at least 0, "
            f"got {sampling.max_tokens} and {sampling.temperature}."
        )
    if not all(
        stop >= 0 and (vocab_size is None or stop < vocab_size) for stop in sampling.stop_ids
    ):
        raise EngineError(f"stop_ids must be from 0 to {last}, got {sampling.stop_ids}.")
    return room
