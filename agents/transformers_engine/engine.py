"""Continuous batching inside this process."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from proofgym.agents.engine import Completion, Fingerprint, Finish, check_request
from proofgym.agents.errors import EngineError
from proofgym.agents.transformers_engine.batch import Batch
from proofgym.agents.transformers_engine.decoder import Decoder
from proofgym.agents.transformers_engine.fingerprint import fingerprint
from proofgym.agents.transformers_engine.general_decoder import GeneralDecoder
from proofgym.agents.transformers_engine.llama_decoder import LlamaDecoder
from proofgym.agents.transformers_engine.row import Row
from proofgym.agents.transformers_engine.sampler import seed_word
from proofgym.envs import Sampling

logger = logging.getLogger(__name__)

_MIN_TURNS = 2
_MAX_TURNS = 16


class TransformersEngine:
    """Serve a transformers causal LM that the learner shares.

    The engine holds the same module as the learner. After an optimiser step, ``load({},
    version)`` says that the module now is that version: nothing is sent; the fast path copies
    the matrices once into its fused form. ``load(state, version)`` first copies the tensors
    into the module (so into the learner's, too).

    Requests are served by one task that runs only while there is work. A model step runs
    inside the event loop, without threads or clocks, so the same requests in the same order
    give the same results, bit for bit. In another order or batch the draws use the same
    random numbers, and the logits differ by float rounding only (some 1e-6 in float32).

    The keys and values of finished rows stay in memory, the oldest going first. A prompt
    that begins with such a row's ids goes on from there: the next turn of an episode reads
    only its new tokens. Equal prompts are read once.

    Args:
        model: a causal LM with full attention. Llama, Mistral, Qwen2 and Qwen3 take a fast
            path; others run through their own ``forward``.
        max_slots: the most rows sampled at once; more requests wait.
        max_context: the most tokens of prompt and completion; None takes the model's.
        max_kept: the most finished rows whose keys and values stay; None is ``max_slots``.
        path: which decoder; "auto" takes the fast one where it fits.
        version: of the weights that the model has now.

    Raises:
        EngineError: the model, or the path asked for, cannot be served.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_slots: int = 64,
        max_context: int | None = None,
        max_kept: int | None = None,
        path: Literal["auto", "fast", "general"] = "auto",
        version: int = 0,
    ) -> None:
        if max_slots < 1:
            raise EngineError(f"max_slots must be at least 1, got {max_slots}.")
        self._model = model
        self._max_context = _context(model, max_context)
        self._decoder = _decoder(model, max_slots, self._max_context, path)
        kept = max_slots if max_kept is None else max_kept
        self._batch = Batch(self._decoder, max_slots, kept, self._max_context, version)
        self._waiting: deque[Row] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._paused = False
        self._dead: str | None = None

    @property
    def max_context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        return self._max_context

    @property
    def version(self) -> int:
        """Of the weights that draw now."""
        return self._batch.version

    @property
    def prefilled_tokens(self) -> int:
        """How many prompt tokens have been read so far; shared and reused ones do not count."""
        return self._batch.prefilled_tokens

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Sample one completion; see :class:`~proofgym.agents.engine.Engine`."""
        if self._dead:
            raise EngineError(self._dead)
        row = self._row(prompt_ids, sampling, seed, priority)
        place = len(self._waiting)
        while place and self._waiting[place - 1].priority > priority:
            place -= 1
        self._waiting.insert(place, row)
        self._start()
        try:
            return await row.future
        except asyncio.CancelledError:
            self._batch.cancel(row)
            raise

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        """Take new weights, and forget the keys and values of finished rows.

        Args:
            weights: tensors by the model's parameter names, copied into the shared module; or
                empty, where the learner has updated the module itself.
            version: of the weights from now on. Requests in flight go on under it, on keys and
                values that the old weights made.

        Returns:
            The fingerprint of the tensors named in ``weights``, read back from the module, or
            of ``model.named_parameters()`` when it is empty.
        """
        if self._dead:
            raise EngineError(self._dead)
        tensors: dict[str, torch.Tensor] = dict(self._model.named_parameters())
        if weights:
            tensors = _copied(weights, self._model)
        self._decoder.refresh()
        self._batch.new_weights(version)
        return fingerprint(tensors, version)

    async def pause(self, *, abort: bool = False) -> None:
        """Stop sampling until :meth:`resume`.

        Args:
            abort: end the requests in flight with ``Finish.ABORT`` and what they have so far,
                instead of letting them wait.
        """
        self._paused = True
        if abort:
            self._abort_all()

    async def resume(self) -> None:
        """Sample again."""
        self._paused = False
        self._start()

    async def close(self) -> None:
        """Free everything; requests in flight end with ``Finish.ABORT``."""
        self._dead = "The engine is closed; make a new one."
        self._abort_all()
        self._batch.free()

    def _row(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, priority: int) -> Row:
        room = check_request(prompt_ids, sampling, self._max_context, self._decoder.vocab_size)
        prompt = np.array(prompt_ids, dtype=np.int64)
        return Row(
            prompt=prompt,
            hashes=self._batch.prefixes.prefixes(prompt),
            sampling=sampling,
            seed=seed_word(seed),
            limit=min(sampling.max_tokens, room),
            future=asyncio.get_running_loop().create_future(),
            priority=priority,
        )

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            if not self._has_work():
                return
            self._pump = asyncio.get_running_loop().create_task(self._run())

    def _has_work(self) -> bool:
        return not self._paused and (bool(self._waiting) or self._batch.table.active > 0)

    async def _run(self) -> None:
        try:
            while self._has_work():
                await self._settle()
                if not self._has_work():
                    return
                with torch.inference_mode():
                    self._batch.admit(self._waiting)
                    self._batch.step()
        except asyncio.CancelledError:
            self._abort_all()
            raise
        except Exception as error:  # noqa: BLE001 - the task's boundary: every request gets it
            self._die(error)

    async def _settle(self) -> None:
        """Let the callers run, for as long as they bring new requests: a burst is one batch."""
        for turn in range(_MAX_TURNS):
            before = len(self._waiting)
            await asyncio.sleep(0)
            if turn + 1 >= _MIN_TURNS and len(self._waiting) == before:
                return

    def _abort_all(self) -> None:
        while self._waiting:
            row = self._waiting.popleft()
            if not row.future.done():
                empty = np.zeros(0, dtype=np.int64)
                row.future.set_result(
                    row.completion(empty, empty.astype(np.float32), 0, Finish.ABORT)
                )
        self._batch.abort()

    def _die(self, error: Exception) -> None:
        logger.error("The engine's step failed; every request in flight fails.", exc_info=error)
        self._dead = f"The engine is dead: {type(error).__name__}: {error}. Make a new one."
        for row in [*self._waiting, *self._batch.table.actives()]:
            if not row.future.done():
                row.future.set_exception(EngineError(self._dead))
        self._waiting.clear()
        self._batch.free()


def _context(model: PreTrainedModel, asked: int | None) -> int:
    config: Any = model.config
    # GPT-2 and its like name it n_positions; the configuration translates attributes only.
    known: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    context = known if asked is None else asked
    if context is None:
        raise EngineError(
            f"{type(model).__name__} has no max_position_embeddings: set max_context."
        )
    if context < 2 or (known is not None and context > known):
        raise EngineError(f"max_context must be from 2 to the model's {known}, got {asked}.")
    return context


def _decoder(model: PreTrainedModel, max_slots: int, max_context: int, path: str) -> Decoder:
    fits = LlamaDecoder.fits(model, max_context)
    if path == "fast" and not fits:
        raise EngineError(
            f"path='fast' serves plain Llama, Mistral, Qwen2 and Qwen3 models, and this "
            f"{type(model).__name__} is not one. Use path='auto'."
        )
    if fits and path != "general":
        return LlamaDecoder(model, max_slots, max_context)
    return GeneralDecoder(model, max_slots, max_context)


def _copied(weights: Mapping[str, Any], model: PreTrainedModel) -> dict[str, torch.Tensor]:
    own = model.state_dict()
    for name, tensor in weights.items():
        if name not in own:
            raise EngineError(f"load: the model has no tensor {name!r}; nothing was loaded.")
        if tensor.shape != own[name].shape:
            raise EngineError(
                f"load: {name} must have the shape {tuple(own[name].shape)}, got "
                f"{tuple(tensor.shape)}; nothing was loaded."
            )
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    return {name: own[name] for name in weights}
