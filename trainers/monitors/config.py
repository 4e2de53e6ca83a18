"""Which metrics are watched, from where on they are wrong, and what happens then."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Action = Literal["off", "warn", "correct", "stop"]
"""What a monitor does about what it saw; ``correct`` changes the stage's configuration from the
next step on."""


class ThresholdConfig(BaseModel):
    """One monitor: it acts where its metric was beyond the threshold so many steps in a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float
    steps: int = Field(default=3, ge=1, description="in a row")
    action: Action = "warn"
    correct: dict[str, Any] = Field(
        default={}, description="for action correct: dotted keys of the stage, and their new values"
    )

    @model_validator(mode="after")
    def _a_correction_is_named(self) -> "ThresholdConfig":
        if (self.action == "correct") != bool(self.correct):
            raise ValueError(
                "action 'correct' goes with a table 'correct' of dotted keys of the stage and the "
                f"values they get, got {self.action!r} and {self.correct or 'no table'}"
            )
        return self


def _at(threshold: float, steps: int = 3) -> ThresholdConfig:
    return ThresholdConfig(threshold=threshold, steps=steps)


class MonitorsConfig(BaseModel):
    """The monitors of an RL stage.

    The thresholds of the mismatch are what others alarm at: mean |difference of logprobs| up to
    0.01 with equal weights and 0.02 with stale ones is seen in healthy runs (SkyRL's gates), 0.01
    of KL is prime-rl's alarm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine_difference: ThresholdConfig = _at(0.03)
    stale_difference: ThresholdConfig = _at(0.1)
    zero_variance: ThresholdConfig = _at(0.95, 5)
    low_entropy: ThresholdConfig = _at(1e-3, 5)
    truncation: ThresholdConfig = _at(0.5)
    faults: ThresholdConfig = _at(0.1)
    heldout: ThresholdConfig = Field(
        default=_at(0.05, 2),
        description="how far held-out pass@1 may fall below its best while the reward rises; "
        "steps are evaluations, so evaluation.every must be set",
    )
