"""How tensors reach servers that are ready to take them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from proofgym.agents.vllm_engine.client import ServerClient


class WeightTransfer(Protocol):
    """Move one set of tensors to the workers of several servers.

    The engine calls :meth:`stage` once for new weights, and then :meth:`send` for servers that
    have answered ``/start_weight_update``; again for one that was restarted.
    """

    def stage(self, weights: Mapping[str, Any]) -> None:
        """Take the weights to send from now on.

        Args:
            weights: torch tensors by the checkpoint's names.
        """
        ...

    async def send(self, clients: Sequence[ServerClient]) -> None:
        """Send what was staged to all of these servers.

        Raises:
            EngineError: a server refused.
            ServerLostError: a server was lost.
        """
        ...

    def close(self) -> None:
        """Free what was staged."""
        ...


async def update_all(clients: Sequence[ServerClient], update_info: Mapping[str, Any]) -> None:
    """Post one ``/update_weights`` to every server, and wait for all."""
    body = {"update_info": update_info}
    posts = (client.call("/update_weights", body, phase="update weights") for client in clients)
    await asyncio.gather(*posts)
