"""What all of a run takes of each GPU: the learner, the engine, and what lies between them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from proofgym.agents.tiny_policy import tiny_architecture, tiny_tokenizer
from proofgym.agents.vllm_engine import TransferKind, VLLMConfig
from proofgym.envs import environment_class
from proofgym.trainers.engines import EmbeddedEngineConfig, ProcessEngineConfig
from proofgym.trainers.memory_plan import (
    CONTEXT,
    FLOAT,
    GIB,
    EngineMemory,
    LearnerMemory,
    Model,
    cache_bytes,
    learner_memory,
    model_numbers,
    server_memory,
)
from proofgym.trainers.run import schema_words
from proofgym.trainers.run_config import PretrainedModel, RlConfig, RunConfig, SftConfig
from proofgym.trainers.value_head import ValueHead


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage's learner.

    Args:
        tokens: of a full micro-batch.
        memory: as it is configured.
        otherwise: with activation checkpointing where it is without, and the other way round.
        sync: the most while weights go to the engine, between optimiser steps.
    """

    name: str
    tokens: int
    compute_dtype: str
    checkpointing: bool
    memory: LearnerMemory
    otherwise: LearnerMemory
    sync: int

    @property
    def peak(self) -> int:
        """The most at one moment."""
        return max(self.memory.peak, self.sync)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """One GPU, or the machine's memory where a run has none: who takes what of it."""

    name: str
    total: int
    parts: Mapping[str, int]

    @property
    def taken(self) -> int:
        """By all together."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether there is as much."""
        return self.taken <= self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A whole run.

    Args:
        model: the policy's numbers.
        stages: in their order.
        engine: of the rollouts; None where others run the servers.
        slots, context: rollouts that the engine samples at once, and their longest length.
        devices: with what each of them must hold.
    """

    model: Model
    stages: tuple[StagePlan, ...]
    engine: EngineMemory | None
    engine_kind: str
    slots: int
    context: int
    devices: tuple[DevicePlan, ...]

    @property
    def worst(self) -> StagePlan:
        """The stage that takes most."""
        return max(self.stages, key=lambda stage: stage.peak)

    @property
    def fits(self) -> bool:
        """Whether every device has room, and the engine's reserve holds one sequence."""
        engine = self.engine
        starved = engine is not None and engine.cached_fraction * self.slots < 1
        return all(device.fits for device in self.devices) and not starved


def plan_run(config: RunConfig, device_bytes: int, *, on_gpu: bool) -> RunPlan:
    """Plan a run without making its model.

    Args:
        config: the run's.
        device_bytes: the memory of each GPU, or of the machine.
        on_gpu: whether the learner is on a GPU.

    Raises:
        OSError: there is no configuration of a pretrained model where the run says.
        ValueError: an engine's share of the memory is no number.
    """
    architecture = architecture_of(config)
    model = model_numbers(architecture)
    stages = tuple(
        _stage(name, stage, config, architecture, model, on_gpu=on_gpu)
        for name, stage in config.stages.items()
    )
    engine, slots, context = _engine(config, model, device_bytes, on_gpu=on_gpu)
    peak = max(stage.peak for stage in stages)
    return RunPlan(
        model=model,
        stages=stages,
        engine=engine,
        engine_kind=config.engine.kind,
        slots=slots,
        context=context,
        devices=_devices(config, peak, engine, device_bytes, on_gpu=on_gpu),
    )


def architecture_of(config: RunConfig) -> PretrainedConfig:
    """Read the policy's configuration, as transformers has it."""
    model = config.model
    if isinstance(model, PretrainedModel):
        found: PretrainedConfig = AutoConfig.from_pretrained(Path(model.path))
        return found
    words = schema_words(environment_class(config.environment)().tool_schemas)
    return tiny_architecture(model, tiny_tokenizer(words))


def _stage(
    name: str,
    stage: SftConfig | RlConfig,
    config: RunConfig,
    architecture: PretrainedConfig,
    model: Model,
    *,
    on_gpu: bool,
) -> StagePlan:
    critic: ValueHead | None = None
    reference = 0
    if isinstance(stage, SftConfig):
        samples = stage.batch_size
    else:
        samples = stage.prompts * stage.group_size // stage.updates
        critic = stage.critic if isinstance(stage.critic, ValueHead) else None
        reference = FLOAT * model.parameters if stage.kl.beta > 0 else 0
    longest = min(model.context, stage.token_budget)
    tokens = min(stage.token_budget, samples * longest)
    lengths = [longest] * (tokens // longest)
    cast = _cast_bytes(config, model)
    staged = cast if isinstance(stage, RlConfig) else 0

    def memory(*, checkpointing: bool) -> LearnerMemory:
        settings = {"activation_checkpointing": checkpointing}
        found = learner_memory(
            architecture,
            stage.learner.model_copy(update=settings),
            stage.optimizer,
            lengths,
            accumulates=samples * longest > stage.token_budget,
            critic=critic,
            on_gpu=on_gpu,
        )
        return replace(found, reference=reference, staged=staged)

    chosen = stage.learner.activation_checkpointing
    planned = memory(checkpointing=chosen)
    return StagePlan(
        name=name,
        tokens=sum(lengths),
        compute_dtype=stage.learner.compute_dtype,
        checkpointing=chosen,
        memory=planned,
        otherwise=memory(checkpointing=not chosen),
        sync=planned.standing + cast,
    )


def _cast_bytes(config: RunConfig, model: Model) -> int:
    """Say what the weights take in the engine's type, where they go there from GPU to GPU."""
    engine = config.engine
    if not isinstance(engine, VLLMConfig) or engine.launch.dtype == "float32":
        return 0
    return 0 if engine.transfer is TransferKind.SHARED_MEMORY else 2 * model.parameters


def _engine(
    config: RunConfig, model: Model, device_bytes: int, *, on_gpu: bool
) -> tuple[EngineMemory | None, int, int]:
    """Plan the engine; also say how many sequences of which length it may hold."""
    engine = config.engine
    if not isinstance(engine, VLLMConfig):
        rollouts = max(
            (one.prompts * one.group_size for one in config.stages.values() if one.kind == "rl"),
            default=config.evaluation.tasks,
        )
        slots, context = min(engine.slots, rollouts), model.context
        cache = cache_bytes(model, slots=slots, tokens=context, number_bytes=FLOAT)
        own = 0 if isinstance(engine, EmbeddedEngineConfig) else FLOAT * model.parameters
        return EngineMemory(weights=own, cache=cache), slots, context
    launch = engine.launch
    context = launch.max_context or model.context
    if engine.urls:
        return None, launch.slots, context
    planned = server_memory(model, launch, device_bytes)
    if _server_on_cpu(engine, on_gpu=on_gpu):
        planned = replace(planned, reserve=planned.weights + launch.kv_cache_gib * GIB)
    return planned, launch.slots, context


def _server_on_cpu(engine: VLLMConfig, *, on_gpu: bool) -> bool:
    return engine.launch.device == "cpu" or (engine.launch.device == "auto" and not on_gpu)


def _devices(
    config: RunConfig,
    peak: int,
    engine: EngineMemory | None,
    device_bytes: int,
    *,
    on_gpu: bool,
) -> tuple[DevicePlan, ...]:
    """Put everyone on their device."""
    parts: dict[str, dict[str, int]] = {}
    home = _gpu_name(config.device) if on_gpu else "memory"

    # vLLM counts its own CUDA in its share, and an embedded engine has the learner's
    own_processes = ["learner"] + ["engine"] * (config.engine.kind == "process")

    def put(device: str, who: str, size: int) -> None:
        parts.setdefault(device, {})[who] = size
        if device != "memory" and who in own_processes:
            parts[device][f"CUDA of the {who}"] = CONTEXT

    put(home, "learner", peak)
    if engine is not None and not isinstance(config.engine, VLLMConfig):
        put(_own_device(config.engine, home), "engine", engine.taken)
    elif engine is not None and isinstance(config.engine, VLLMConfig):
        launch = config.engine.launch
        if not _server_on_cpu(config.engine, on_gpu=on_gpu):
            gpus = launch.gpus or tuple(range(launch.tensor_parallel)) * launch.replicas
            for number, gpu in enumerate(gpus):
                put(f"cuda:{gpu}", f"server {number // launch.tensor_parallel}", engine.taken)
        elif not on_gpu:  # a GPU's plan leaves the machine's own memory out
            put("memory", "servers", engine.taken * launch.replicas)
    return tuple(
        DevicePlan(name=name, total=device_bytes, parts=found) for name, found in parts.items()
    )


def _own_device(engine: EmbeddedEngineConfig | ProcessEngineConfig, home: str) -> str:
    if isinstance(engine, EmbeddedEngineConfig) or engine.device is None:
        return home
    return "memory" if engine.device == "cpu" else _gpu_name(engine.device)


def _gpu_name(device: str) -> str:
    return "cuda:0" if device in ("auto", "cuda") else device
