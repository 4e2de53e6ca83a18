"""Supervised fine-tuning: cross entropy on demonstrated tokens, through the same batches as RL."""

from dataclasses import replace

from proofgym.trainers.batch import Batch, Weighted, pack, packing_efficiency
from proofgym.trainers.demonstrations import Demonstrations
from proofgym.trainers.learner import Learner, StepReport
from proofgym.trainers.losses.cross_entropy import cross_entropy_loss
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.normaliser import token_weights
from proofgym.trainers.run_config import SftConfig
from proofgym.trainers.upload import upload


async def sft_step(
    learner: Learner, demonstrations: Demonstrations, config: SftConfig, *parts: str | int
) -> StepReport:
    """Take one step: draw a batch, weigh every demonstrated token alike, descend."""
    samples = await demonstrations.batch(*parts)
    counts = [[sample.num_actions] for sample in samples]
    weights = token_weights(counts, "token_mean", max_tokens=1)
    weighted = [
        Weighted(sample=sample, w_ce=weight)
        for sample, (weight,) in zip(samples, weights, strict=True)
    ]
    batches = pack(weighted, token_budget=config.token_budget)
    report = learner.step(batches, sft_loss)
    efficiency = packing_efficiency(batches, config.token_budget)
    return replace(report, metrics={**report.metrics, "pack/efficiency": efficiency})


def sft_loss(scored: ActionLogprobs, batch: Batch) -> LossSums:
    """Cross entropy with the batch's own weights."""
    weight_N = upload(batch.w_ce_T[batch.action_T], scored.logp_N.device)
    return cross_entropy_loss(scored.logp_N, weight_N)
