"""What an algorithm is made of, and which combinations make sense."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proofgym.trainers.advantages.group_mean import GroupMean
from proofgym.trainers.advantages.registry import WITHOUT_A_GROUP, AdvantageConfig
from proofgym.trainers.corrections.correction import CorrectionConfig
from proofgym.trainers.kl import KlConfig
from proofgym.trainers.losses.ppo_clip import PpoClip
from proofgym.trainers.losses.registry import PolicyLossConfig
from proofgym.trainers.normaliser import Normaliser
from proofgym.trainers.overlong import KeepOverlong, OverlongConfig
from proofgym.trainers.presets import PRESETS, filled
from proofgym.trainers.value_head import NoCritic, ValueHead

CriticConfig = Annotated[NoCritic | ValueHead, Field(discriminator="kind")]


class AlgorithmConfig(BaseModel):
    """From rewards to a gradient. ``algorithm`` fills what is not given here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: str = Field(default="rlvr", description="a name of trainers/presets.py")
    group_size: int = Field(default=16, ge=1, description="rollouts a group")
    advantage: AdvantageConfig = GroupMean()
    normaliser: Normaliser = "token_mean"
    loss: PolicyLossConfig = PpoClip()
    anchor: Literal["old", "behaviour"] = Field(
        default="old", description="what the ratio is over: the learner's or the engine's logprobs"
    )
    correction: CorrectionConfig = CorrectionConfig()
    kl: KlConfig = KlConfig()
    entropy_coefficient: float = Field(default=0.0, ge=0)
    overlong: OverlongConfig = KeepOverlong()
    filter_flat_groups: bool = Field(
        default=True, description="leave groups without any signal out, also of the denominator"
    )
    critic: CriticConfig = NoCritic()

    @model_validator(mode="before")
    @classmethod
    def _filled_by_its_algorithm(cls, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        name = table.get("algorithm", "rlvr")
        if name not in PRESETS:
            near = difflib.get_close_matches(str(name), PRESETS, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"algorithm must be one of {', '.join(PRESETS)}, got {name!r}{hint}")
        return filled(table, name)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "AlgorithmConfig":
        kind, critic = self.advantage.kind, self.critic.kind
        alone = kind in WITHOUT_A_GROUP
        baseline = getattr(self.advantage, "baseline", False)
        if self.group_size < 2 and (not alone or baseline):
            raise ValueError(
                f"group_size must be at least 2 for advantage {kind}, got {self.group_size}: with "
                "one rollout a prompt there is no group baseline. Raise it, or use algorithm 'ppo'"
            )
        if (kind == "gae") != (critic != "none"):
            raise ValueError(
                f"critic.kind must be 'value_head' for advantage gae and 'none' for any other, got "
                f"{critic!r} with {kind}. Set algorithm = 'ppo', which sets both"
            )
        if self.anchor == "behaviour" and not self.correction.none:
            raise ValueError(
                "correction must be none in each of token, sequence and opsm where anchor is "
                "'behaviour': the ratio is then over the engine's own logprobs, and a correction "
                "would count the mismatch twice"
            )
        if alone and self.filter_flat_groups:
            raise ValueError(
                f"filter_flat_groups must be false for advantage {kind}: a group of equal rewards "
                "still carries signal against a value or the batch's mean"
            )
        return self
