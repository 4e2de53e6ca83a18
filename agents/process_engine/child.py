"""The engine's own process: ``python -m proofgym.agents.process_engine.child SOCKET WEIGHTS``."""

import asyncio
import os
import socket
import sys
from typing import Any

import torch

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
from proofgym.agents.transformers_engine import TransformersEngine

_READ_BYTES = 1 << 20


class Child:
    """Serve one engine over a socket until the other end closes it."""

    def __init__(self, setup: Setup, weights: int, writer: asyncio.StreamWriter) -> None:
        torch.set_num_threads(setup.threads)
        self.weights = SharedWeights(weights, setup.places)
        model = setup.model_class(setup.config).to(getattr(torch, setup.dtype)).eval()
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in self.weights.tensors().items():
                own[name].copy_(tensor)
        self.engine = TransformersEngine(
            model.to(setup.device),
            max_slots=setup.max_slots,
            max_context=setup.max_context,
            version=setup.version,
        )
        self.writer = writer
        self.running: dict[int, asyncio.Task[None]] = {}

    def take(self, message: Any) -> None:
        """Begin what a message asks for."""
        if isinstance(message, Cancel):
            task = self.running.get(message.number)
            if task is not None:
                task.cancel()
            return
        task = asyncio.create_task(self._answer(message))
        self.running[message.number] = task
        task.add_done_callback(lambda _: self.running.pop(message.number, None))

    async def _answer(self, message: Any) -> None:
        try:
            answer = Answer(number=message.number, value=await self._do(message))
        except EngineError as error:
            answer = Answer(number=message.number, error=str(error))
        self.writer.write(encode(answer))

    async def _do(self, message: Any) -> Any:
        match message:
            case Generate():
                prompt_ids: list[int] = message.prompt_ids.tolist()
                return await self.engine.generate(
                    prompt_ids, message.sampling, message.seed, priority=message.priority
                )
            case Load():
                tensors = self.weights.tensors() if message.fresh else {}
                return await self.engine.load(tensors, message.version)
            case Control():
                calls = {
                    "pause": self.engine.pause,
                    "resume": self.engine.resume,
                    "close": self.engine.close,
                }
                await calls[message.method]()
                if message.method == "close":  # the requests that it ended are answered first
                    others = [task for one, task in self.running.items() if one != message.number]
                    await asyncio.gather(*others)
                return None
        raise AssertionError(f"unknown message {message!r}")


async def serve(link: socket.socket, weights: int) -> None:
    """Read messages and begin them, until the other end is gone."""
    reader, writer = await asyncio.open_connection(sock=link)
    frames = Frames()
    child: Child | None = None
    while piece := await reader.read(_READ_BYTES):
        for message in frames.feed(piece):
            if child is None:
                child = Child(message, weights, writer)
            else:
                child.take(message)


def main() -> None:
    """Serve, and leave without ceremony: whoever started this process is gone or done."""
    link, weights = (int(word) for word in sys.argv[1:])
    try:
        asyncio.run(serve(socket.socket(fileno=link), weights))
    except ConnectionError:
        os._exit(0)


if __name__ == "__main__":
    main()
