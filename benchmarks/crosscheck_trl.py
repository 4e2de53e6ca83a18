"""Compare losses and gradients with trl's GRPOTrainer on random tensors, in float64.

    python -m venv trl && trl/bin/pip install "torch==2.13.0" trl ".[train]"
    PYTHONPATH=. trl/bin/python benchmarks/crosscheck_trl.py

trl's own ``GRPOTrainer._compute_loss`` runs, on a stand-in that has the attributes it reads and
whose model is a table of logprobs: nothing of its loss is written again here. Both sides get the
same logprobs, advantages, masks and sampler's logprobs. Exits non-zero on a difference above
1e-12. Where trl's definition differs, the setting that makes the two meet is noted in the table.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import trl
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.batch import Batch
from proofgym.trainers.losses.terms import ActionLogprobs
from proofgym.trainers.normaliser import token_weights

ROLLOUTS, LONGEST = 6, 9
OFF = 1e30
"""A dual clip that never binds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The same loss, said to both sides."""

    ours: dict[str, Any]
    normaliser: str
    theirs: dict[str, Any]
    args: dict[str, Any] = field(default_factory=dict)
    note: str = ""


CLIP = {"kind": "ppo_clip", "clip_low": 0.2, "clip_high": 0.28, "dual_clip": OFF}
NO = {"token": {"kind": "none"}}
CASES = {
    "GRPO": Case(
        ours={"loss": CLIP, "correction": NO},
        normaliser="sequence_mean",
        theirs={"loss_type": "grpo"},
    ),
    "DAPO": Case(
        ours={"loss": CLIP, "correction": NO}, normaliser="token_mean", theirs={"loss_type": "dapo"}
    ),
    "Dr. GRPO": Case(
        ours={"loss": CLIP, "correction": NO},
        normaliser="constant",
        theirs={"loss_type": "dr_grpo"},
    ),
    "dual clip": Case(
        ours={"loss": {**CLIP, "dual_clip": 1.5}, "correction": NO},
        normaliser="token_mean",
        theirs={"loss_type": "dapo"},
        args={"delta": 1.5},
        note="trl's delta caps the ratio of good tokens too; the upper clip is below it",
    ),
    "GSPO": Case(
        ours={
            "loss": {"kind": "gspo", "clip_low": 0.05, "clip_high": 0.08},
            "correction": NO,
        },
        normaliser="sequence_mean",
        theirs={
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon_low": 0.05,
            "epsilon_high": 0.08,
        },
    ),
    "CISPO": Case(
        ours={"loss": {"kind": "cispo", "clip_high": 0.5}, "correction": NO},
        normaliser="token_mean",
        theirs={"loss_type": "cispo", "epsilon_high": 1.5},
        note="trl's epsilon_high is the bound itself, ours (the paper's) the bound less 1",
    ),
    "SAPO": Case(
        ours={"loss": {"kind": "sapo"}, "correction": NO},
        normaliser="sequence_mean",
        theirs={"loss_type": "sapo"},
    ),
    "TIS, cap 1.2": Case(
        ours={"loss": CLIP, "correction": {"token": {"kind": "tis", "cap": 1.2}}},
        normaliser="token_mean",
        theirs={"loss_type": "dapo", "use_vllm": True},
        note="trl's weights come in with its batch: exp(old - sampler), capped",
    ),
    "OPSM": Case(
        ours={"loss": CLIP, "correction": {**NO, "opsm": {"kind": "opsm", "delta": 0.05}}},
        normaliser="token_mean",
        theirs={"loss_type": "dapo", "off_policy_mask_threshold": 0.05},
    ),
    "KL k3, plain": Case(
        ours={"loss": CLIP, "correction": NO, "kl": {"beta": 0.3, "unbiased": False}},
        normaliser="token_mean",
        theirs={"loss_type": "dapo", "beta": 0.3},
    ),
    "KL k3, unbiased": Case(
        ours={"loss": CLIP, "correction": NO, "kl": {"beta": 0.3}},
        normaliser="token_mean",
        theirs={"loss_type": "dapo", "beta": 0.3},
        args={"use_bias_correction_kl": True},
    ),
    "entropy bonus": Case(
        ours={"loss": CLIP, "correction": NO, "entropy_coefficient": 0.1},
        normaliser="token_mean",
        theirs={"loss_type": "dapo", "_entropy_bonus_enabled": True, "entropy_coef": 0.1},
    ),
}


def main() -> int:
    """Run every case; return how many differ."""
    print(f"trl {trl.__version__}, torch {torch.__version__}, float64, {ROLLOUTS} rollouts")
    failures = 0
    for name, case in CASES.items():
        worst_loss = worst_gradient = size = 0.0
        for seed in range(20):
            drawn = draw(seed)
            ours, our_gradient = evaluate(our_loss(case, drawn), drawn)
            theirs, their_gradient = evaluate(trl_loss(case, drawn), drawn)
            worst_loss = max(worst_loss, abs(ours - theirs))
            worst_gradient = max(worst_gradient, float((our_gradient - their_gradient).abs().max()))
            size = max(size, float(our_gradient.abs().max()))
        same = worst_loss < 1e-12 and worst_gradient < 1e-12 and size > 0
        failures += not same
        verdict = "same" if same else "DIFFERENT"
        print(
            f"{name:16} {verdict:9} loss {worst_loss:.1e}  gradient {worst_gradient:.1e} of "
            f"{size:.2f}  {case.note}"
        )
    return failures


def draw(seed: int) -> SimpleNamespace:
    """Draw logprobs of a policy, an old one, a sampler and a reference, on ragged rollouts."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(*shape, generator=rng, dtype=torch.float64)

    lengths = torch.randint(2, LONGEST + 1, (ROLLOUTS,), generator=rng)
    logp = -normal(ROLLOUTS, LONGEST, scale=1.0).abs() - 0.1
    return SimpleNamespace(
        mask=(torch.arange(LONGEST) < lengths[:, None]).double(),
        logp=logp.requires_grad_(),
        entropy=normal(ROLLOUTS, LONGEST, scale=1.0).abs().requires_grad_(),
        old=logp.detach() + normal(ROLLOUTS, LONGEST, scale=0.3),
        sampler=logp.detach() + normal(ROLLOUTS, LONGEST, scale=0.4),
        ref=logp.detach() + normal(ROLLOUTS, LONGEST, scale=0.4),
        advantage=normal(ROLLOUTS, scale=1.0),
    )


def evaluate(loss: Tensor, drawn: SimpleNamespace) -> tuple[float, Tensor]:
    """Return the loss with its gradient in logprobs and entropies."""
    gradients = torch.autograd.grad(loss, [drawn.logp, drawn.entropy], allow_unused=True)
    flat = [torch.zeros_like(drawn.logp) if one is None else one for one in gradients]
    return float(loss.detach()), torch.stack(flat)


def our_loss(case: Case, drawn: SimpleNamespace) -> Tensor:
    """Pack the action tokens end to end and sum."""
    config = AlgorithmConfig.model_validate({**case.ours, "filter_flat_groups": False})
    counts = [int(n) for n in drawn.mask.sum(1)]
    (weights,) = token_weights([counts], case.normaliser, max_tokens=LONGEST)  # type: ignore[arg-type]
    keep, sequence = drawn.mask.bool(), torch.arange(ROLLOUTS)
    size = sum(counts)

    def each(column: Tensor) -> Tensor:
        return column[:, None].expand(ROLLOUTS, LONGEST)[keep]

    batch = Batch(
        tokens_T=torch.zeros(size, dtype=torch.int64),
        positions_T=torch.zeros(size, dtype=torch.int64),
        cumulative_lengths=(0, *torch.tensor(counts).cumsum(0).tolist()),
        action_T=torch.ones(size, dtype=torch.bool),
        behaviour_logp_T=drawn.sampler[keep],
        advantage_T=each(drawn.advantage),
        w_pg_T=each(torch.tensor(weights, dtype=torch.float64)),
        w_ce_T=torch.zeros(size),
        temperature=1.0,
        sequence_N=each(sequence),
        old_logp_N=drawn.old[keep],
        ref_logp_N=drawn.ref[keep] if config.kl.beta else None,
    )
    scored = ActionLogprobs(logp_N=drawn.logp[keep], entropy_N=drawn.entropy[keep])
    return policy_loss(config)(scored, batch).loss


def trl_loss(case: Case, drawn: SimpleNamespace) -> Tensor:
    """Run trl's method on a stand-in for its trainer."""
    args = {
        "delta": None,
        "use_bias_correction_kl": False,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
        "steps_per_generation": 1,
        **case.args,
    }
    accelerator = SimpleNamespace(
        num_processes=1,
        sync_gradients=False,
        reduce=lambda value, **_: value,
        gather=lambda value: value,
        gather_for_metrics=lambda value: value,
    )
    settings: dict[str, Any] = {
        "args": SimpleNamespace(**args),
        "accelerator": accelerator,
        "model": SimpleNamespace(training=False),
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "epsilon_low": 0.2,
        "epsilon_high": 0.28,
        "beta": 0.0,
        "use_vllm": False,
        "vllm_importance_sampling_correction": True,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": LONGEST,
        "_entropy_bonus_enabled": False,
        "use_adaptive_entropy": False,
        "get_off_policy_mask": GRPOTrainer.get_off_policy_mask,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_get_per_token_logps_and_entropies": lambda *_, **__: (drawn.logp, drawn.entropy, None),
        **case.theirs,
    }
    ids = torch.zeros(ROLLOUTS, LONGEST, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1] + 1,
        "completion_ids": ids,
        "completion_mask": drawn.mask,
        "advantages": drawn.advantage,
        "old_per_token_logps": drawn.old,
        "sampling_per_token_logps": drawn.sampler,
        "importance_sampling_ratio": torch.exp(drawn.old - drawn.sampler).clamp(max=1.2),
        "ref_per_token_logps": drawn.ref,
        "num_items_in_batch": drawn.mask.sum(),
    }
    loss: Tensor = GRPOTrainer._compute_loss(SimpleNamespace(**settings), None, inputs)
    return loss


if __name__ == "__main__":
    sys.exit(main())
