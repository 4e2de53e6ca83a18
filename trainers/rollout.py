"""A scored episode on its way to the gradient, and the group that it is compared within.

Shapes: N action tokens of the episode over all its rows, in order; K turns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from proofgym.envs import Episode
from proofgym.trainers.errors import TrainError
from proofgym.trainers.sample import Sample, samples_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """One scored episode.

    Args:
        episode: what was played.
        rows: its token sequences; each sampled token is trainable in exactly one of them.
        turn_rewards: one for each turn; shaping changes the last.
        kl_penalty_N: taken from each action token's reward; None where there is none.
        old_logp_N: under the learner's weights at the start of the step, where asked for.
        ref_logp_N: under the reference's.
        value_N: what the critic expected before each action token.
        masked: whether its tokens are left out of the loss; its reward still counts in its group.
    """

    episode: Episode
    rows: tuple[Sample, ...]
    turn_rewards: tuple[float, ...]
    kl_penalty_N: Tensor | None = None
    old_logp_N: Tensor | None = None
    ref_logp_N: Tensor | None = None
    value_N: Tensor | None = None
    masked: bool = False

    @property
    def num_actions(self) -> int:
        """How many tokens the policy sampled."""
        return sum(row.num_actions for row in self.rows)

    @property
    def reward(self) -> float:
        """All that the episode earned, penalties taken off."""
        penalty = 0.0 if self.kl_penalty_N is None else float(self.kl_penalty_N.sum())
        return sum(self.turn_rewards) - penalty

    @property
    def turn_N(self) -> Tensor:
        """Which turn each action token belongs to."""
        parts = [torch.from_numpy(row.turn[row.action].astype("int64")) for row in self.rows]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    @property
    def reward_N(self) -> Tensor:
        """What each action token earned: a turn's reward stands on its last token."""
        turn_N = self.turn_N
        out_N = torch.zeros(len(turn_N))
        for turn, reward in enumerate(self.turn_rewards):
            places = (turn_N == turn).nonzero()
            if len(places):
                out_N[places[-1]] = reward
        return out_N if self.kl_penalty_N is None else out_N - self.kl_penalty_N.to(out_N)

    @property
    def return_N(self) -> Tensor:
        """What each action token and those behind it earned, undiscounted."""
        return self.reward_N.flip(0).cumsum(0).flip(0)

    @property
    def reward_K(self) -> Tensor:
        """What each turn earned, penalties taken off."""
        reward_K = torch.tensor(self.turn_rewards)
        if self.kl_penalty_N is None:
            return reward_K
        return reward_K.index_add(0, self.turn_N, -self.kl_penalty_N.to(reward_K))

    @property
    def anchor_K(self) -> tuple[bytes, ...]:
        """What the policy read right before each turn."""
        return tuple(turn.prompt_ids.tobytes() for turn in self.episode.turns)


Group = Sequence[Rollout]
"""The rollouts of one task."""


def grouped(episodes: Sequence[Episode], *, smallest: int) -> list[Group]:
    """Put scored episodes into their groups; groups of fewer than ``smallest`` are left out.

    An unscored episode is left out of its group's mean: None never becomes 0.

    Raises:
        TrainError: a reward is not finite.
    """
    by_group: dict[int, list[Rollout]] = {}
    for episode in episodes:
        if not episode.scored:
            continue
        if not math.isfinite(episode.reward):
            raise TrainError(
                f"expected finite rewards, got {episode.reward} for task {episode.task_id} of "
                f"{episode.env_id}. A verifier that cannot judge must return Score.unscored."
            )
        rows = tuple(samples_of(episode))
        rollout = Rollout(episode=episode, rows=rows, turn_rewards=tuple(episode.rewards))
        by_group.setdefault(episode.group, []).append(rollout)
    return [members for members in by_group.values() if len(members) >= smallest]
