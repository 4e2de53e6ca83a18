"""Metrics added up over micro-batches, as their losses give them."""

import torch
from torch import Tensor

from proofgym.trainers.losses.terms import LossSums


class MetricSums:
    """Sums, counts and maxima of one optimiser step."""

    def __init__(self) -> None:
        self.token_sums: dict[str, float] = {}
        self.sequence_sums: dict[str, float] = {}
        self.maxima: dict[str, float] = {}
        self.loss = 0.0
        self.tokens = 0
        self.sequences = 0

    def add(self, found: LossSums) -> None:
        """Add one micro-batch's."""
        for name, value in found.metrics.items():
            self.token_sums[name] = self.token_sums.get(name, 0.0) + float(value)
        for name, value in found.sequence_metrics.items():
            self.sequence_sums[name] = self.sequence_sums.get(name, 0.0) + float(value)
        for name, value in found.maxima.items():
            self.maxima[name] = max(self.maxima.get(name, float("-inf")), float(value))
        self.tokens += found.tokens
        self.sequences += found.sequences

    def join(self, other: "MetricSums") -> None:
        """Add what another process summed."""
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
        self.token_sums[name] = self.token_sums.get(name, 0.0) + float(value_N.sum())

    def means(self) -> dict[str, float]:
        """Take means over tokens and over sequences, and the effective sample size's fraction.

        ``ratio/ess`` is (sum w)^2 / (n sum w^2): 1 where the engine's policy is the learner's.
        """
        out = {name: x / self.tokens for name, x in self.token_sums.items() if name[0] != "_"}
        out |= {name: x / self.sequences for name, x in self.sequence_sums.items()}
        if "_sum_weight" in self.token_sums:
            squared = self.token_sums["_sum_weight_squared"]
            weight = self.token_sums["_sum_weight"]
            out["ratio/ess"] = weight**2 / (self.tokens * squared) if squared else 0.0
        return out | self.maxima
