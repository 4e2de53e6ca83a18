"""The trainer's end of an engine that runs in a process of its own."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from transformers import PreTrainedModel

from proofgym.agents.engine import Completion, Fingerprint, Finish
from proofgym.agents.errors import EngineError
from proofgym.agents.process_engine.frames import (
    Answer,
    Cancel,
    Control,
    Frames,
    Generate,
    Load,
    Setup,
    encode,
)
from proofgym.agents.process_engine.shared_weights import SharedWeights
from proofgym.envs import Sampling

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20
_CLOSE_S = 5.0
_LAST_WORDS = 2000


class ProcessEngine:
    """Serve a transformers causal LM from a child process, with weights of its own.

    The learner's process and this one work at the same time. New weights go through shared memory
    and are fingerprinted by the child after it has copied them; requests in flight go on under
    them. A child that dies is started again with the last weights, and is asked again for what it
    had not answered: the same seeds draw the same tokens, up to float rounding. The child ends
    when its trainer does, however that ends.

    Which requests share a step depends on the clock here, so that logprobs may differ between two
    runs in their last bits. A run that must be reproducible to the bit uses the embedded engine.

    Args:
        model: what to serve; copied, and never touched again.
        max_slots: the most rows sampled at once; more requests wait.
        max_context: the most tokens of prompt and completion.
        version: of the weights that the model has now.
        device: where the child puts its copy; the model's own place where it is None.
        threads: that torch may use in the child.
        max_deaths: deaths in a row, without an answer between them, after which requests fail.
        wait_s: the longest wait for anything but a completion, the child's start included.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_slots: int = 64,
        max_context: int | None = None,
        version: int = 0,
        device: str | None = None,
        threads: int = 1,
        max_deaths: int = 3,
        wait_s: float = 600.0,
    ) -> None:
        context = max_context or int(model.config.max_position_embeddings)
        parameters = dict(model.named_parameters())
        self._weights = SharedWeights.of(parameters)
        first = next(iter(parameters.values()))
        self._setup: dict[str, Any] = {
            "model_class": type(model),
            "config": model.config,
            "dtype": str(first.dtype).removeprefix("torch."),
            "device": device or str(first.device),
            "places": self._weights.places,
            "max_slots": max_slots,
            "max_context": context,
            "threads": threads,
        }
        self._max_context = context
        self._version = version
        self._max_deaths = max_deaths
        self._wait_s = wait_s
        self._deaths = 0
        self._paused = False
        self._closed: str | None = None
        self._number = 0
        self._asked: dict[int, Generate | Load | Control] = {}
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start()

    @property
    def max_context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        return self._max_context

    @property
    def version(self) -> int:
        """Of the weights that were loaded last."""
        return self._version

    @property
    def closed(self) -> bool:
        """Whether it serves no more: closed, or dead too often."""
        return self._closed is not None

    @property
    def pid(self) -> int:
        """Of the child process."""
        return self._process.pid

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Sample one completion; see :class:`~proofgym.agents.engine.Engine`."""
        prompt = np.array(prompt_ids, dtype=np.int64)
        request = Generate(
            number=self._next(),
            prompt_ids=prompt,
            sampling=sampling,
            seed=seed,
            priority=priority,
        )
        completion: Completion = await self._ask(request)
        return completion

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        """Take new weights, and return the child's fingerprint of what it then holds.

        Args:
            weights: tensors by the model's parameter names; empty to change the version alone.
            version: of the weights from now on.
        """
        known = {place.name: place.shape for place in self._weights.places}
        for name, tensor in weights.items():
            if known.get(name) != tuple(tensor.shape):
                raise EngineError(
                    f"load: expected a tensor of {known.get(name, 'no such name')}, got {name} of "
                    f"{tuple(tensor.shape)}; nothing was loaded."
                )
        self._weights.write(weights)
        self._version = version
        request = Load(number=self._next(), version=version, fresh=bool(weights))
        found: Fingerprint = await self._ask(request)
        return found

    async def pause(self) -> None:
        """Stop sampling until :meth:`resume`; requests wait."""
        self._paused = True
        await self._ask(Control(number=self._next(), method="pause"))

    async def resume(self) -> None:
        """Sample again."""
        self._paused = False
        await self._ask(Control(number=self._next(), method="resume"))

    async def close(self) -> None:
        """End the child; requests in flight end with ``Finish.ABORT`` and what they have."""
        if self._closed is not None:
            return
        self._deaths = self._max_deaths  # a child that dies now stays dead
        closing = self._ask(Control(number=self._next(), method="close"))
        with contextlib.suppress(EngineError, TimeoutError):
            await asyncio.wait_for(closing, _CLOSE_S)
        self._closed = "The engine is closed; make a new one."
        self._detach()
        self._end_process()
        for future in self._futures.values():
            if not future.done():
                future.set_result(_nothing())
        self._futures.clear()

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, request: Generate | Load | Control) -> Any:
        if self._closed is not None:
            raise EngineError(self._closed)
        self._attach()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[request.number] = request
        self._futures[request.number] = future
        self._send(request)
        wait_s = None if isinstance(request, Generate) else self._wait_s
        try:
            async with asyncio.timeout(wait_s):
                return await future
        except TimeoutError:
            raise EngineError(
                f"The engine's process {self.pid} must answer a {type(request).__name__} within "
                f"{wait_s:g} s, and did not. Is the machine overloaded? Start the run again."
            ) from None
        except asyncio.CancelledError:
            self._send(Cancel(number=request.number))
            raise
        finally:
            self._asked.pop(request.number, None)
            self._futures.pop(request.number, None)

    def _start(self) -> None:
        """Start a child, and tell it what to serve; it answers once it is up."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._link = ours
        self._frames = Frames()
        self._outgoing = bytearray()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as the child does
        descriptors = (theirs.fileno(), self._weights.descriptor)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proofgym.agents.process_engine.child", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # a Ctrl-C at the terminal is the trainer's to handle
        )
        theirs.close()
        self._send(Setup(**self._setup, version=self._version))
        if self._paused:
            self._send(Control(number=self._next(), method="pause"))

    def _attach(self) -> None:
        """Read the child's answers from the loop that is running now."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._detach()
            self._loop = loop
            loop.add_reader(self._link, self._readable)
            if self._outgoing:
                loop.add_writer(self._link, self._writable)

    def _detach(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link)
            self._loop.remove_writer(self._link)
        self._loop = None

    def _send(self, message: object) -> None:
        if self._closed is not None:
            return
        waiting = bool(self._outgoing)
        self._outgoing += encode(message)
        if not waiting:
            self._flush()
        if self._outgoing and self._loop is not None:
            self._loop.add_writer(self._link, self._writable)

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # its death is read elsewhere
            while self._outgoing:
                del self._outgoing[: self._link.send(self._outgoing)]

    def _writable(self) -> None:
        self._flush()
        if not self._outgoing and self._loop is not None:
            self._loop.remove_writer(self._link)

    def _readable(self) -> None:
        try:
            piece = self._link.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self._died()
            return
        for answer in self._frames.feed(piece):
            self._deaths = 0
            self._settle(answer)

    def _settle(self, answer: Answer) -> None:
        future = self._futures.get(answer.number)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(EngineError(answer.error))
        else:
            future.set_result(answer.value)

    def _died(self) -> None:
        """Start another child and ask it again, unless it keeps dying."""
        loop = self._loop
        self._detach()
        why = self._end_process()
        self._deaths += 1
        if self._deaths >= self._max_deaths:
            self._closed = (
                f"The engine's process must live, and died {self._deaths} times in a row ({why}). "
                "Look at its last words, at the memory that is free, and start again."
            )
            for future in self._futures.values():
                if not future.done():
                    future.set_exception(EngineError(self._closed))
            return
        logger.warning("The engine's process died (%s); another one takes over.", why)
        self._start()
        self._loop = loop
        assert loop is not None, "only an attached engine reads"
        loop.add_reader(self._link, self._readable)
        for request in list(self._asked.values()):
            self._send(request)

    def _end_process(self) -> str:
        """Make sure that the child is gone, and say how it went."""
        self._link.close()
        try:
            code = self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _LAST_WORDS))
        words = self._stderr.read().decode(errors="replace").strip()
        self._stderr.close()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"{how}{': ' + words if words else ''}"

    def __del__(self) -> None:
        if "_process" in self.__dict__ and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _nothing() -> Completion:
    return Completion(
        ids=np.zeros(0, dtype=np.int32),
        logprobs=np.zeros(0, dtype=np.float32),
        versions=np.zeros(0, dtype=np.int32),
        finish=Finish.ABORT,
    )
