"""An engine that draws tokens by a function: for tests, and to measure what is not the engine."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proofgym.agents.engine import Completion, Fingerprint, Finish, check_request
from proofgym.agents.errors import EngineError
from proofgym.envs import Sampling


@dataclass(slots=True, eq=False)
class _Request:
    prompt: list[int]
    sampling: Sampling
    seed: int
    limit: int
    future: asyncio.Future[Completion]
    ids: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def end(self, finish: Finish) -> None:
        if not self.future.done():
            ids = np.array(self.ids, dtype=np.int32)
            versions = np.array(self.versions, dtype=np.int32)
            logprobs = np.zeros(len(ids), dtype=np.float32)
            self.future.set_result(
                Completion(ids=ids, logprobs=logprobs, versions=versions, finish=finish)
            )


class ScriptedEngine:
    """Serve a script as if it were a model: one token of every request a turn of the loop.

    A script is certain of what it says, so every logprob is 0.

    Args:
        draw: from the prompt, the number of tokens drawn so far, the sampling and the seed, the
            next token.
        vocab_size: ids are below it.
        max_context: the most tokens of prompt and completion.
        slots: requests served at once; more wait, by priority and then by arrival.
        version: of the weights that it pretends to have.
    """

    def __init__(
        self,
        draw: Callable[[list[int], int, Sampling, int], int],
        *,
        vocab_size: int,
        max_context: int = 4096,
        slots: int = 1024,
        version: int = 0,
    ) -> None:
        self.max_context = max_context
        self.version = version
        self._draw = draw
        self._vocab_size = vocab_size
        self._slots = slots
        self._waiting: list[tuple[int, int, _Request]] = []
        self._arrivals = itertools.count()
        self._active: list[_Request] = []
        self._pump: asyncio.Task[None] | None = None
        self._paused = False
        self._closed = False

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Sample one completion; see :class:`~proofgym.agents.engine.Engine`."""
        if self._closed:
            raise EngineError("The engine is closed; make a new one.")
        room = check_request(prompt_ids, sampling, self.max_context, self._vocab_size)
        request = _Request(
            prompt=list(prompt_ids),
            sampling=sampling,
            seed=seed,
            limit=min(sampling.max_tokens, room),
            future=asyncio.get_running_loop().create_future(),
        )
        heapq.heappush(self._waiting, (priority, next(self._arrivals), request))
        self._start()
        return await request.future

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        """Take the version, and fingerprint weights that change nothing."""
        from proofgym.agents.transformers_engine.fingerprint import fingerprint

        self.version = version
        return fingerprint(weights, version)

    async def pause(self) -> None:
        """Stop sampling until :meth:`resume`; requests wait."""
        self._paused = True

    async def resume(self) -> None:
        """Sample again."""
        self._paused = False
        self._start()

    async def close(self) -> None:
        """End requests in flight with ``Finish.ABORT``."""
        self._closed = True
        for request in [*self._active, *(request for *_, request in self._waiting)]:
            request.end(Finish.ABORT)
        self._active.clear()
        self._waiting.clear()

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self._paused and (self._active or self._waiting):
            while self._waiting and len(self._active) < self._slots:
                self._active.append(heapq.heappop(self._waiting)[-1])
            self._active = [request for request in self._active if self._step(request)]
            await asyncio.sleep(0)

    def _step(self, request: _Request) -> bool:
        """Draw one token; say whether the request goes on."""
        if request.future.done():  # cancelled by its caller
            return False
        sampling = request.sampling
        token = self._draw(request.prompt, len(request.ids), sampling, request.seed)
        request.ids.append(token)
        request.versions.append(self.version)
        stopped = token in sampling.stop_ids
        if stopped or len(request.ids) >= request.limit:
            request.end(Finish.STOP if stopped else Finish.LENGTH)
            return False
        return True
