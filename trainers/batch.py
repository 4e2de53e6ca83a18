"""Samples packed to a token budget, with weights that are already globally normalised.

Shapes: T tokens of all packed sequences together, S sequences, N action tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proofgym.trainers.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A sample with the numbers that its tokens train with.

    Args:
        sample: the tokens; n of them are actions.
        advantage: of every action token, or n numbers.
        w_pg: weight of every action token in the policy-gradient loss, already divided by the
            global denominator.
        w_ce: likewise in the cross entropy.
        old_logp, ref_logp, value, target: n numbers, where the loss needs them; see ``Batch``.
    """

    sample: Sample
    advantage: float | NDArray[np.floating] = 0.0
    w_pg: float = 0.0
    w_ce: float = 0.0
    old_logp: NDArray[np.floating] | None = None
    ref_logp: NDArray[np.floating] | None = None
    value: NDArray[np.floating] | None = None
    target: NDArray[np.floating] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One micro-batch: sequences laid end to end.

    Args:
        tokens_T: int64.
        positions_T: int64, restarting at 0 with every sequence.
        cumulative_lengths: S + 1 boundaries, the first 0 and the last T.
        action_T: bool, whether the token is trained on; never a sequence's first token.
        behaviour_logp_T: float32, the engine's logprobs.
        version_T: int32, of the weights that drew each action token; -1 elsewhere.
        advantage_T: float32.
        w_pg_T, w_ce_T: float32, 0 except on action tokens.
        temperature: of the sampling, one for the whole batch.
        sequence_N: int64, which sequence each action token belongs to.
        old_logp_N: under the weights at the start of the step; None where the batch is trained on
            at those very weights.
        ref_logp_N: under the reference; None without one.
        value_N: what the critic expected at the start of the step; None without one.
        target_N: what the critic is to expect; None without one.
    """

    tokens_T: Tensor
    positions_T: Tensor
    cumulative_lengths: tuple[int, ...]
    action_T: Tensor
    behaviour_logp_T: Tensor
    version_T: Tensor
    advantage_T: Tensor
    w_pg_T: Tensor
    w_ce_T: Tensor
    temperature: float
    sequence_N: Tensor
    old_logp_N: Tensor | None = None
    ref_logp_N: Tensor | None = None
    value_N: Tensor | None = None
    target_N: Tensor | None = None


def pack(weighted: Sequence[Weighted], *, token_budget: int, reorder: bool = True) -> list[Batch]:
    """Lay samples end to end in the micro-batches of :func:`micro_batches`."""
    return [lay_out(one) for one in micro_batches(weighted, token_budget, reorder=reorder)]


def micro_batches(
    weighted: Sequence[Weighted], token_budget: int, *, reorder: bool = True
) -> list[list[Weighted]]:
    """Share samples out over micro-batches of at most ``token_budget`` tokens.

    First fit, the longest first: it wastes at most 2/9 of the room, and on mixed lengths some
    percent (Johnson, Near-optimal bin packing algorithms, 1973). Without ``reorder`` samples stay
    in the order given, each in the newest micro-batch. A sequence longer than the budget gets a
    micro-batch of its own. The grouping depends on the lengths alone, so it is the same in every
    run.

    Raises:
        ValueError: the samples have different temperatures.
    """
    temperatures = {one.sample.temperature for one in weighted}
    if len(temperatures) > 1:
        raise ValueError(
            f"one batch must have one sampling temperature, got {sorted(temperatures)}. "
            "Train on each apart."
        )
    order = sorted(weighted, key=lambda one: -len(one.sample)) if reorder else weighted
    batches: list[list[Weighted]] = []
    rooms: list[int] = []
    for one in order:
        size = len(one.sample)
        oldest = 0 if reorder else max(0, len(rooms) - 1)
        place = next((i for i in range(oldest, len(rooms)) if size <= rooms[i]), len(rooms))
        if place == len(rooms):
            batches.append([])
            rooms.append(token_budget)
        batches[place].append(one)
        rooms[place] -= size
    return batches


def packing_efficiency(batches: Sequence[Batch], token_budget: int) -> float:
    """Say which part of the micro-batches' room holds tokens; nan without any."""
    tokens = sum(batch.cumulative_lengths[-1] for batch in batches)
    return tokens / (len(batches) * token_budget) if batches else math.nan


def lay_out(group: Sequence[Weighted]) -> Batch:
    """Lay samples end to end.

    Raises:
        ValueError: a sequence begins with an action, or one sample has numbers that another lacks.
    """
    samples = [one.sample for one in group]
    lengths = [len(sample) for sample in samples]
    action = np.concatenate([sample.action for sample in samples])
    ends = np.cumsum(lengths)
    if action[np.concatenate([[0], ends[:-1]])].any():
        raise ValueError(
            "a sequence must begin with a token that the policy read, got a sampled one first: "
            "nothing predicts it. Give the policy a prompt."
        )
    dtype = torch.get_default_dtype()  # float32, but in proofs
    sequence = np.repeat(np.arange(len(group)), lengths)
    columns: dict[str, Tensor] = {}
    for name in ("advantage", "w_pg", "w_ce"):
        column = np.zeros(len(action))
        column[action] = _joined([_per_action(one, getattr(one, name)) for one in group])
        columns[f"{name}_T"] = torch.from_numpy(column).to(dtype)
    for name in ("old_logp", "ref_logp", "value", "target"):
        values = [getattr(one, name) for one in group]
        if any(one is not None for one in values):
            columns[f"{name}_N"] = torch.from_numpy(_joined(values)).to(dtype)
    return Batch(
        tokens_T=torch.from_numpy(np.concatenate([s.tokens for s in samples]).astype(np.int64)),
        positions_T=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        cumulative_lengths=(0, *(int(end) for end in ends)),
        action_T=torch.from_numpy(action),
        behaviour_logp_T=torch.from_numpy(np.concatenate([s.logp for s in samples])),
        version_T=torch.from_numpy(np.concatenate([s.version for s in samples])),
        temperature=samples[0].temperature,
        sequence_N=torch.from_numpy(sequence[action]),
        **columns,
    )


def _per_action(one: Weighted, value: float | NDArray[np.floating]) -> NDArray[np.floating]:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (one.sample.num_actions,))


def _joined(values: Sequence[NDArray[np.floating] | None]) -> NDArray[np.floating]:
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        raise ValueError(
            f"every sample of a batch must have the same numbers, got {len(values) - len(present)} "
            f"of {len(values)} without. Annotate all of them or none."
        )
    return np.concatenate(present)
