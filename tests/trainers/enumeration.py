"""Every trajectory of a tiny world, with its exact probability.

Actions are 0 to V - 1, action 0 ends the episode, and so does the horizon. The policy is a table
of logits, one row for each prefix of actions. Each action is a turn of its own where ``turns``,
with a token that the policy only reads in between.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from proofgym.envs import Episode, Sampling, Source, Turn
from proofgym.trainers.algorithm import policy_loss, training_groups, weigh
from proofgym.trainers.batch import Weighted, lay_out
from proofgym.trainers.losses.terms import ActionLogprobs
from proofgym.trainers.rollout import Rollout
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import samples_of
from proofgym.verifiers import Score

Actions = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """A policy, another one that samples (the same, where it is None), and rewards."""

    theta_SV: Tensor
    rewards: dict[Actions, float]
    prefixes: tuple[Actions, ...]
    trajectories: tuple[Actions, ...]
    turns: bool = False
    sampler_SV: Tensor | None = None

    def logp_SV(self) -> Tensor:
        return torch.log_softmax(self.theta_SV, dim=1)

    def logps(self, actions: Actions, logp_SV: Tensor) -> Tensor:
        rows = [self.prefixes.index(actions[:t]) for t in range(len(actions))]
        return logp_SV[rows, list(actions)]

    def probability(self, actions: Actions, logp_SV: Tensor | None = None) -> Tensor:
        return self.logps(actions, self.logp_SV() if logp_SV is None else logp_SV).sum().exp()

    def chance(self, actions: Actions) -> float:
        """How likely the sampler draws it."""
        sampler = self.theta_SV if self.sampler_SV is None else self.sampler_SV
        return float(self.probability(actions, torch.log_softmax(sampler, 1)).detach())

    def reward_K(self, actions: Actions) -> list[float]:
        """A reward for each turn: of each prefix, or all at the end."""
        if self.turns:
            return [self.rewards[actions[: t + 1]] for t in range(len(actions))]
        return [self.rewards[actions]]

    def objective(self) -> Tensor:
        return sum_of(self.probability(a) * sum(self.reward_K(a)) for a in self.trajectories)

    def gradient(self, value: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad(value, self.theta_SV)
        return grad

    def rollout(self, actions: Actions) -> Rollout:
        sampler = self.theta_SV if self.sampler_SV is None else self.sampler_SV
        logp = self.logps(actions, torch.log_softmax(sampler, 1)).detach().numpy()
        pieces = [[t] for t in range(len(actions))] if self.turns else [list(range(len(actions)))]
        turns = tuple(
            Turn(
                row=0,
                prompt_ids=np.array([9, *(10 + a for a in actions[: piece[0]])], dtype=np.int32),
                prompt_source=np.full(1 + piece[0], Source.USER, dtype=np.uint8),
                ids=np.array([actions[t] for t in piece], dtype=np.int32),
                logprobs=logp[piece],
                versions=np.zeros(len(piece), dtype=np.int32),
                sampling=Sampling(),
                finish="stop",
                seed=0,
            )
            for piece in pieces
        )
        rewards = tuple(self.reward_K(actions))
        episode = Episode(
            env_id="e", task_id="t", group=0, rollout=0, seed=0, messages=(), turns=turns,
            rewards=rewards, score=Score(value=rewards[-1]),
        )  # fmt: skip
        exact = tuple(replace(row, logp=_spread(row.action, logp)) for row in samples_of(episode))
        return Rollout(episode=episode, rows=exact, turn_rewards=rewards)


def _spread(action: np.ndarray, logp: np.ndarray) -> np.ndarray:
    out = np.zeros(len(action))
    out[action] = logp
    return out


def world(
    *, vocabulary: int = 3, horizon: int = 3, seed: int = 0, turns: bool = False,
    same_length: bool = False, binary: bool = False,
) -> World:  # fmt: skip
    """Make a world with random logits and rewards."""
    rng = torch.Generator().manual_seed(seed)
    ends = set() if same_length else {0}
    alive: list[Actions] = [()]
    prefixes: list[Actions] = []
    done: list[Actions] = []
    for t in range(horizon):
        prefixes += alive
        grown = [(*prefix, a) for prefix in alive for a in range(vocabulary)]
        done += [one for one in grown if one[-1] in ends or t + 1 == horizon]
        alive = [one for one in grown if one[-1] not in ends]
    theta = torch.randn(len(prefixes), vocabulary, generator=rng, dtype=torch.float64)
    names = {*prefixes, *done} - {()}
    rewards = {one: float(torch.rand((), generator=rng)) for one in sorted(names)}
    if binary:
        rewards = {one: float(value > 0.5) for one, value in rewards.items()}
    return World(
        theta_SV=theta.requires_grad_(), rewards=rewards, prefixes=tuple(prefixes),
        trajectories=tuple(done), turns=turns,
    )  # fmt: skip


def sum_of(terms: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def expected_gradient(
    one: World, config: RlConfig, rollouts: dict[Actions, Rollout], *, prompts: int = 1
) -> Tensor:
    """The gradient that a step *ascends*, in expectation over all batches that can come up.

    It goes through the trainers' own functions: compare, weigh, lay out, loss.
    """
    logp_SV = one.logp_SV()
    chance = {a: one.chance(a) for a in one.trajectories}
    weighted: list[Weighted] = []
    order: list[Actions] = []
    size = config.group_size
    for batch in itertools.product(one.trajectories, repeat=size * prompts):
        p = math.prod(chance[actions] for actions in batch)
        drawn = [rollouts[actions] for actions in batch]
        groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        rows = weigh(training_groups(groups, config), config)
        weighted += [replace(row, w_pg=row.w_pg * p) for row in rows]
        order += batch
    laid_out = lay_out(weighted)
    logp_N = torch.cat([one.logps(actions, logp_SV) for actions in order])
    zero_N = torch.zeros_like(logp_N)
    scored = ActionLogprobs(logp_N=logp_N, entropy_N=zero_N, value_N=laid_out.value_N)
    return -one.gradient(policy_loss(config)(scored, laid_out).loss)


def rollouts_of(one: World) -> dict[Actions, Rollout]:
    return {actions: one.rollout(actions) for actions in one.trajectories}


def score_terms(one: World, factor: Sequence[tuple[Actions, Sequence[float]]]) -> Tensor:
    """E[sum_t f_t grad log pi_t] over single trajectories, f given for each trajectory."""
    logp_SV = one.logp_SV()
    return one.gradient(
        sum_of(
            one.probability(a).detach() * (torch.tensor(f) * one.logps(a, logp_SV)).sum()
            for a, f in factor
        )
    )
