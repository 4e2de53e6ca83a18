"""Part the mismatch of sampler and learner in two: another engine, and older weights."""

import torch
from torch import Tensor

from proofgym.trainers.batch import Batch
from proofgym.trainers.learner import LossFunction
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.upload import upload, upload_like


class MismatchSplit:
    """A loss that also measures |old - behaviour| by the version that drew each token.

    At equal weights the difference is the engine's doing: precision, kernels, another temperature.
    At older ones the policy has moved since.

    Args:
        loss: what is computed; it is passed on as it is.
        version: of the weights that the step starts with.
    """

    def __init__(self, loss: LossFunction, *, version: int) -> None:
        self.loss = loss
        self.version = version
        self._sums: dict[str, Tensor | float] = {"engine": 0.0, "stale": 0.0}
        self._tokens = {"engine": 0, "stale": 0}

    def __call__(self, scored: ActionLogprobs, batch: Batch) -> LossSums:
        """Compute the loss, and add the micro-batch up."""
        logp_N = scored.logp_N.detach()
        old_logp_N = logp_N if batch.old_logp_N is None else upload_like(batch.old_logp_N, logp_N)
        behaviour_N = upload_like(batch.behaviour_logp_T[batch.action_T], logp_N)
        difference_N = (old_logp_N - behaviour_N).abs()
        same_N = batch.version_T[batch.action_T] == self.version
        self._add("engine", difference_N, same_N)
        self._add("stale", difference_N, ~same_N)
        return self.loss(scored, batch)

    def metrics(self) -> dict[str, float]:
        """Return the mean of each kind of token that there was."""
        return {
            f"mismatch/{kind}_abs_mean": float(self._sums[kind]) / tokens
            for kind, tokens in self._tokens.items()
            if tokens
        }

    @torch.no_grad()
    def _add(self, kind: str, difference_N: Tensor, chosen_N: Tensor) -> None:
        """Add up some tokens; the sum stays where it is, so that nobody waits for it."""
        if not (tokens := int(chosen_N.sum())):
            return
        chosen_N = upload(chosen_N, difference_N.device)
        self._sums[kind] = (
            self._sums[kind] + torch.where(chosen_N, difference_N, 0.0).sum().double()
        )
        self._tokens[kind] += tokens
