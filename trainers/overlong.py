"""Rollouts that ran into the token limit: punished softly, or left out of the loss."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from proofgym.trainers.losses.terms import Settings
from proofgym.trainers.rollout import Group, Rollout


class KeepOverlong(Settings):
    """Train on them as on any other."""

    kind: Literal["keep"] = "keep"


class MaskOverlong(Settings):
    """Leave rollouts that a limit cut short out of the loss; their rewards count in their group."""

    kind: Literal["mask"] = "mask"


class SoftOverlong(Settings):
    """Take up to ``weight`` off the reward over the last ``cache_fraction`` of max_tokens."""

    kind: Literal["soft"] = "soft"
    cache_fraction: float = Field(default=0.2, gt=0, le=1)
    weight: float = Field(default=1.0, gt=0)


OverlongConfig = Annotated[KeepOverlong | MaskOverlong | SoftOverlong, Field(discriminator="kind")]


def soft_overlong(length: int, *, max_tokens: int, cache_tokens: float) -> float:
    """Punish a message for its last tokens: 0 up to max - cache, then linearly to -1 at max.

    Source: DAPO, arXiv:2503.14476, equation 13.
    """
    over = max_tokens - cache_tokens - length
    return min(0.0, max(-1.0, over / cache_tokens))


def handle_overlong(
    groups: Sequence[Group],
    config: KeepOverlong | MaskOverlong | SoftOverlong,
    *,
    max_tokens: int,
) -> list[Group]:
    """Shape or mask the rollouts; the longest message of an episode is the one that is judged."""

    def handled(rollout: Rollout) -> Rollout:
        if isinstance(config, MaskOverlong):
            return replace(rollout, masked=rollout.episode.stop.truncated)
        if isinstance(config, KeepOverlong) or not rollout.turn_rewards:
            return rollout
        longest = max((len(turn.ids) for turn in rollout.episode.turns), default=0)
        cache = config.cache_fraction * max_tokens
        penalty = config.weight * soft_overlong(longest, max_tokens=max_tokens, cache_tokens=cache)
        *earlier, last = rollout.turn_rewards
        return replace(rollout, turn_rewards=(*earlier, last + penalty))

    return [[handled(rollout) for rollout in group] for group in groups]
