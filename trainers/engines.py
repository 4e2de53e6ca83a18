"""Which engine samples for a run, and how the learner's weights come to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from proofgym.agents import Engine, Fingerprint
from proofgym.agents.process_engine import ProcessEngine
from proofgym.agents.transformers_engine import TransformersEngine
from proofgym.agents.transformers_engine.fingerprint import fingerprint
from proofgym.agents.vllm_engine import VLLMConfig, VLLMEngine
from proofgym.agents.weight_sync import differing_sums, push_weights
from proofgym.trainers.errors import SyncError
from proofgym.trainers.policy import Policy


class EmbeddedEngineConfig(BaseModel):
    """Sample inside the trainer's process, with the learner's own weights: nothing is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["embedded"] = "embedded"
    slots: int = Field(default=512, ge=1, description="rollouts sampled at once")


class ProcessEngineConfig(BaseModel):
    """Sample in a process of its own, with its own copy of the weights, while the learner works.

    It gives the same draws as the embedded engine up to float rounding, and is what staleness
    above 0 needs on one machine without vLLM.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["process"]
    slots: int = Field(default=512, ge=1, description="rollouts sampled at once")
    device: str | None = Field(default=None, description="null: where the learner's model is")
    torch_threads: int = Field(default=1, ge=1)


EngineConfig = Annotated[
    EmbeddedEngineConfig | ProcessEngineConfig | VLLMConfig, Field(discriminator="kind")
]
"""A new kind of engine is a member of this union, and a branch of :func:`start_engine`."""


def shares_weights(config: EngineConfig) -> bool:
    """Tell whether an engine samples from the learner's own tensors."""
    return config.kind == "embedded"


class EngineHost:
    """Own a run's engine: start it when it is first needed, give it weights, close it.

    An engine that shares the learner's weights belongs to one model, and is made anew for each;
    others stay up for the whole run and are sent what they are to serve.

    Args:
        config: which engine.
        folder: for the logs of servers, and the model's configuration that they start with.
    """

    def __init__(self, config: EngineConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self._engine: Engine | None = None

    async def serve(self, policy: Policy, version: int) -> Engine:
        """Return an engine that samples with exactly this policy's weights.

        Raises:
            EngineError: it cannot be started, or serve this model.
            SyncError: it holds other weights than it was sent.
            WeightSyncError: so does a server.
        """
        if self._engine is None and isinstance(self.config, VLLMConfig):
            self._engine = await start_servers(self.config, policy, self.folder)
        if self._engine is not None and not shares_weights(self.config):
            await self.publish(policy, version)
            return self._engine
        await self.close()
        assert not isinstance(self.config, VLLMConfig), "its servers were started above"
        self._engine = await start_engine(self.config, policy, version)
        return self._engine

    async def publish(self, policy: Policy, version: int) -> Fingerprint:
        """Give the running engine the policy's weights as they are now.

        Raises:
            SyncError: it holds other weights than it was sent.
            WeightSyncError: so does a server, or it samples with others all the same.
        """
        assert self._engine is not None, "serve comes before publish"
        if isinstance(self._engine, VLLMEngine):
            dtype: torch.dtype = getattr(torch, self._engine.dtype)
            sync = await push_weights(self._engine, policy.model, version, dtype=dtype)
            return sync.fingerprint
        if shares_weights(self.config):
            return await self._engine.load({}, version)
        weights = dict(policy.model.named_parameters())
        loaded = await self._engine.load(weights, version)
        check_sync(fingerprint(weights, version), loaded)
        return loaded

    @asynccontextmanager
    async def measuring(self, policy: Policy, version: int) -> AsyncIterator[Engine]:
        """Lend an engine with the policy's weights for an evaluation.

        One that shares the learner's weights is a fresh one, whose state says nothing of what was
        sampled before: so a resumed run measures the same to the last bit.
        """
        if not shares_weights(self.config):
            yield await self.serve(policy, version)
            return
        assert isinstance(self.config, EmbeddedEngineConfig), "no other shares weights"
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


def check_sync(sent: Fingerprint, loaded: Fingerprint) -> None:
    """Check that an engine holds what it was sent.

    Raises:
        SyncError: it does not; the tensors that differ are named.
    """
    if (sent.version, sent.digest) == (loaded.version, loaded.digest):
        return  # sums of the same values may differ in their last bits: by threads, by devices
    different = differing_sums(sent, loaded)
    raise SyncError(
        f"expected the engine to hold version {sent.version} (digest {sent.digest[:12]}), got "
        f"version {loaded.version} (digest {loaded.digest[:12]}); {len(different)} tensors have "
        f"other sums{': ' + ', '.join(different[:5]) if different else ''}. It would sample from "
        "other weights than are trained: start the run again, which sends them afresh."
    )


async def start_servers(config: VLLMConfig, policy: Policy, folder: Path) -> VLLMEngine:
    """Start servers with random weights: what they sample with is always sent, and checked.

    Raises:
        EngineError: one does not come up, or cannot be used.
    """
    model = folder / "model"
    if not config.urls:
        model.mkdir(parents=True, exist_ok=True)
        policy.model.config.save_pretrained(model)
        policy.tokenizer.save_pretrained(model)
    engine = VLLMEngine(config, model=model, dummy_weights=True, log_folder=folder)
    try:
        await engine.start()
    except BaseException:
        await engine.close()
        raise
    return engine


async def start_engine(
    config: EmbeddedEngineConfig | ProcessEngineConfig, policy: Policy, version: int
) -> Engine:
    """Make an engine in or beside this process that serves a policy.

    Raises:
        EngineError: it cannot be started, or serve this model.
    """
    context = int(policy.model.config.max_position_embeddings)
    if isinstance(config, ProcessEngineConfig):
        return ProcessEngine(
            policy.model,
            max_slots=config.slots,
            max_context=context,
            version=version,
            device=config.device,
            threads=config.torch_threads,
        )
    return TransformersEngine(
        policy.model, max_slots=config.slots, max_context=context, version=version
    )
