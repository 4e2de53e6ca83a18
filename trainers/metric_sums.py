"""Metrics added up over micro-batches, as their losses give them."""

from typing import Any

import torch
from torch import Tensor

from proofgym.trainers.losses.terms import LossSums


class MetricSums:
    """Sums, counts and maxima of one optimiser step.

    They stay on the device that they were computed on until :meth:`settle`: no micro-batch waits
    for the one before.
    """

    def __init__(self) -> None:
        self.token_sums: dict[str, Any] = {}
        self.sequence_sums: dict[str, Any] = {}
        self.maxima: dict[str, Any] = {}
        self.loss: Any = 0.0
        self.tokens = 0
        self.sequences = 0

    @torch.no_grad()
    def add(self, found: LossSums) -> None:
        """Add one micro-batch's."""
        self.loss = self.loss + found.loss.detach().double()
        for name, value in found.metrics.items():
            self.token_sums[name] = self.token_sums.get(name, 0.0) + value.double()
        for name, value in found.sequence_metrics.items():
            self.sequence_sums[name] = self.sequence_sums.get(name, 0.0) + value.double()
        for name, value in found.maxima.items():
            before = self.maxima.get(name)
            value = value.double()
            self.maxima[name] = value if before is None else torch.maximum(before, value)
        self.tokens += found.tokens
        self.sequences += found.sequences

    def settle(self) -> None:
        """Fetch everything from the device, as plain numbers."""
        self.loss = float(self.loss)
        for sums in (self.token_sums, self.sequence_sums, self.maxima):
            for name, value in sums.items():
                sums[name] = float(value)

    def join(self, other: "MetricSums") -> None:
        """Add what another process summed, and settled."""
        for own, theirs in (
            (self.token_sums, other.token_sums),
            (self.sequence_sums, other.sequence_sums),
        ):
            for name, value in theirs.items():
                own[name] = own.get(name, 0.0) + value
        for name, value in other.maxima.items():
            self.maxima[name] = max(self.maxima.get(name, float("-inf")), value)
        self.loss += other.loss
        self.tokens += other.tokens
        self.sequences += other.sequences

    @torch.no_grad()
    def add_tokens(self, name: str, value_N: Tensor) -> None:
        """Add a number for each token of a micro-batch that is counted already."""
        self.token_sums[name] = self.token_sums.get(name, 0.0) + value_N.sum().double()

    def means(self) -> dict[str, float]:
        """Take means of settled sums, and the effective sample size's fraction.

        ``ratio/ess`` is (sum w)^2 / (n sum w^2): 1 where the engine's policy is the learner's.
        """
        out = {name: x / self.tokens for name, x in self.token_sums.items() if name[0] != "_"}
        out |= {name: x / self.sequences for name, x in self.sequence_sums.items()}
        if "_sum_weight" in self.token_sums:
            squared = self.token_sums["_sum_weight_squared"]
            weight = self.token_sums["_sum_weight"]
            out["ratio/ess"] = weight**2 / (self.tokens * squared) if squared else 0.0
        return out | self.maxima
