"""Which engine samples for a run, and how the learner's weights come to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from proofgym.agents import Engine, Fingerprint
from proofgym.agents.transformers_engine import TransformersEngine
from proofgym.trainers.policy import Policy


class EmbeddedEngineConfig(BaseModel):
    """Sample inside the trainer's process, with the learner's own weights: nothing is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["embedded"] = "embedded"
    slots: int = Field(default=512, ge=1, description="rollouts sampled at once")


EngineConfig = EmbeddedEngineConfig
"""A new kind of engine is a member of this union, and a branch of :func:`start_engine`."""


class EngineHost:
    """Own a run's engine: start it when it is first needed, give it weights, close it.

    An engine that shares the learner's weights belongs to one model, and is made anew for each.

    Args:
        config: which engine.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._engine: Engine | None = None

    async def serve(self, policy: Policy, version: int) -> Engine:
        """Return an engine that samples with exactly this policy's weights.

        Raises:
            EngineError: it cannot be started, or serve this model.
        """
        await self.close()
        self._engine = await start_engine(self.config, policy, version)
        return self._engine

    async def publish(self, policy: Policy, version: int) -> Fingerprint:
        """Give the running engine the policy's weights as they are now."""
        assert self._engine is not None, "serve comes before publish"
        return await self._engine.load({}, version)

    @asynccontextmanager
    async def measuring(self, policy: Policy, version: int) -> AsyncIterator[Engine]:
        """Lend an engine with the policy's weights for an evaluation.

        One that shares the learner's weights is a fresh one, whose state says nothing of what was
        sampled before: so a resumed run measures the same to the last bit.
        """
        engine = await start_engine(self.config, policy, version)
        try:
            yield engine
        finally:
            await engine.close()

    async def close(self) -> None:
        """Stop the engine, if there is one."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()


async def start_engine(config: EngineConfig, policy: Policy, version: int) -> Engine:
    """Make an engine that serves a policy.

    Raises:
        EngineError: it cannot be started, or serve this model.
    """
    context = int(policy.model.config.max_position_embeddings)
    return TransformersEngine(
        policy.model, max_slots=config.slots, max_context=context, version=version
    )
