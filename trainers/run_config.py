"""What a run is: a model, an environment, and stages one after the other."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proofgym.agents import RenderConfig
from proofgym.agents.gateway import AgentConfig
from proofgym.agents.tiny_policy import TinyPolicyConfig
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.engines import EmbeddedEngineConfig, EngineConfig, shares_weights
from proofgym.trainers.learner import OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.monitors import MonitorsConfig
from proofgym.trainers.rollouts import LateConfig

BASE = "base"
"""The name, in metrics, reports and checkpoints, of the model before any stage."""

_STAGE_NAME = re.compile(r"(?!.*-\d{6}$)[A-Za-z0-9][A-Za-z0-9_-]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TinyModel(TinyPolicyConfig):
    """A policy built on the spot, with random weights."""

    kind: Literal["tiny"] = "tiny"


class PretrainedModel(_Strict):
    """A policy that transformers loads."""

    kind: Literal["pretrained"]
    path: str = Field(description="a folder, or a hub id")


ModelConfig = Annotated[TinyModel | PretrainedModel, Field(discriminator="kind")]


class EvaluationConfig(_Strict):
    """How a policy is measured after every stage, on tasks that are never trained on."""

    tasks: int = Field(default=256, ge=1)
    attempts: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=64, ge=1, description="for one assistant message")
    every: int = Field(
        default=0, ge=0, description="also measure within an RL stage, every so many steps; 0: no"
    )


class SftConfig(_Strict):
    """Learn from demonstrations of the environment's own scripted policies."""

    kind: Literal["sft"]
    init: str | None = Field(default=None, description="the stage to start from; null: the model")
    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=1, description="demonstrations a step")
    demonstrators: dict[str, float] = Field(
        default={"oracle": 1.0}, description="who demonstrates, and with which probability"
    )
    token_budget: int = Field(default=4096, ge=1, description="tokens in a micro-batch")
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    control: bool = Field(
        default=False, description="for comparison only: no later stage starts here by default"
    )

    @model_validator(mode="after")
    def _probabilities_add_up(self) -> "SftConfig":
        total = sum(self.demonstrators.values())
        if min(self.demonstrators.values(), default=0) < 0 or not abs(total - 1.0) <= 1e-6:
            raise ValueError(
                f"demonstrators must have probabilities that add up to 1, got {total:g} for "
                f"{', '.join(self.demonstrators)}"
            )
        return self


_SET_AT_THE_START = {
    "kind",
    "init",
    "steps",
    "prompts",
    "group_size",
    "extra_rounds",
    "retire_solved",
    "temperature",
    "max_tokens",
    "updates",
    "staleness",
    "late",
    "monitors",
    "optimizer",
    "learner",
    "control",
}


class RlConfig(AlgorithmConfig):
    """Learn from verified rewards: roll out groups of a task, and ascend by an algorithm."""

    kind: Literal["rl"]
    init: str | None = Field(default=None, description="the stage to start from; null: the model")
    steps: int = Field(ge=1)
    prompts: int = Field(default=32, ge=1, description="groups a step")
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=64, ge=1, description="for one assistant message")
    updates: int = Field(default=1, ge=1, description="optimiser steps a batch")
    token_budget: int = Field(default=4096, ge=1, description="tokens in a micro-batch")
    max_fault_fraction: float = Field(default=0.2, ge=0, le=1)
    staleness: int = Field(
        default=0, ge=0, description="steps that a batch may begin ahead of its own; 0: none"
    )
    late: LateConfig = LateConfig()
    extra_rounds: int = Field(
        default=0, ge=0, description="of rollouts, while flat groups leave a batch short"
    )
    retire_solved: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="a task is drawn no more once this fraction of its rollouts solved it",
    )
    monitors: MonitorsConfig = MonitorsConfig()
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    control: bool = False

    @model_validator(mode="after")
    def _corrections_are_of_this_stage(self) -> "RlConfig":
        for name in type(self.monitors).model_fields:
            correct: dict[str, Any] = getattr(self.monitors, name).correct
            for key, value in correct.items():
                if key.split(".")[0] in _SET_AT_THE_START:
                    raise ValueError(
                        f"monitors.{name}.correct may not name {key}, which is read once when the "
                        "stage starts. Correct the loss, its weights or what is filtered"
                    )
                table = {**self.model_dump(), "monitors": {}}
                *parents, last = key.split(".")
                at = table
                for parent in parents:
                    at = at.setdefault(parent, {})
                at[last] = value
                type(self).model_validate(table)
        return self

    @model_validator(mode="after")
    def _what_depends_on_the_last_step_is_synchronous(self) -> "RlConfig":
        if self.staleness and (self.extra_rounds or self.retire_solved is not None):
            raise ValueError(
                "extra_rounds and retire_solved choose tasks by what the step before found, so "
                f"they need staleness 0, got {self.staleness}"
            )
        return self

    @model_validator(mode="after")
    def _late_groups_need_staleness(self) -> "RlConfig":
        if self.late.fraction and not self.staleness:
            raise ValueError(
                "late.fraction leaves rollouts in flight while the learner trains, so it needs "
                f"staleness of at least 1, got {self.staleness}"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "RlConfig":
        if self.prompts % self.updates:
            raise ValueError(
                f"updates must divide prompts, so that every update gets as many groups, got "
                f"{self.updates} updates of {self.prompts} prompts"
            )
        return self


StageConfig = Annotated[SftConfig | RlConfig, Field(discriminator="kind")]


class RunConfig(_Strict):
    """A whole run. TOML files and dotted overrides fill it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the run folder's name")
    seed: int = Field(default=0, ge=0)
    environment: str = Field(description="an environment's id")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, ...")
    torch_threads: int = Field(default=0, ge=0, description="0: torch's default")
    checkpoint_every: int = Field(default=20, ge=1, description="steps")
    episodes_every: int = Field(default=1, ge=1, description="steps between written rollouts")
    bundles_every: int = Field(
        default=0, ge=0, description="RL steps between written step bundles; 0: none"
    )
    model: ModelConfig = TinyModel()
    rendering: RenderConfig = RenderConfig()
    engine: EngineConfig = EmbeddedEngineConfig()
    agent: AgentConfig | None = Field(
        default=None, description="plays the tasks, in RL and evaluation; null: the policy itself"
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    stages: dict[str, StageConfig]

    @model_validator(mode="after")
    def _stages_start_from_earlier_ones(self) -> "RunConfig":
        if not self.stages:
            raise ValueError("stages must name at least one stage, such as [stages.sft]")
        earlier: list[str] = []
        for name, stage in self.stages.items():
            if not _STAGE_NAME.fullmatch(name) or name == BASE:
                raise ValueError(
                    f"stages must have names of letters, digits, '_' and '-' that name folders of "
                    f"their own (not {BASE!r}, and no step such as sft-000020), got {name!r}"
                )
            if stage.init is not None and stage.init not in earlier:
                raise ValueError(
                    f"stages.{name}.init must name an earlier stage "
                    f"({', '.join(earlier) or 'there is none'}), got {stage.init!r}"
                )
            if stage.kind == "rl" and stage.staleness and shares_weights(self.engine):
                raise ValueError(
                    f"stages.{name}.staleness above 0 needs an engine with weights of its own, "
                    f"such as engine.kind = 'process', got {stage.staleness} and the embedded one"
                )
            earlier.append(name)
        return self
