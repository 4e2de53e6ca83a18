"""Give an engine the learner's weights, and prove that it has them.

Letters: T tokens, V the vocabulary.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from proofgym.agents.engine import Completion, Engine, Fingerprint
from proofgym.agents.errors import WeightSyncError
from proofgym.agents.transformers_engine.fingerprint import fingerprint
from proofgym.envs import Sampling, derive

_SHOWN = 3
_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.3, torch.float16: 0.05}
"""The largest sound difference of a logprob, some five times what was measured on real models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What a push did.

    Args:
        fingerprint: of what the engine loaded.
        canary_difference: the largest |logprob(engine) - logprob(learner)| of the canary's
            tokens.
    """

    fingerprint: Fingerprint
    canary_difference: float


async def push_weights(
    engine: Engine,
    model: PreTrainedModel,
    version: int,
    *,
    dtype: torch.dtype = torch.float32,
    tolerance: float | None = None,
) -> Sync:
    """Load the model's weights into the engine, and check that it samples with them.

    The engine returns a fingerprint of what it was handed, which must be that of what was sent.
    Then it samples a canary completion, whose logprobs must be the learner's: that finds what
    no fingerprint can, such as a part of the model that did not take the new weights, or keys
    and values of the old ones. The canary's prompt is always the same, so that a prefix cache
    which outlived its weights would be read; its temperature is not 1, so that logprobs from
    before the temperature show.

    Args:
        engine: takes the weights.
        model: the learner's.
        version: of the weights from now on.
        dtype: of the engine's weights; what is sent is cast to it.
        tolerance: for the canary; None is one for the dtype.

    Raises:
        WeightSyncError: the engine has other weights; both numbers are in the message.
        EngineError: the engine failed.
    """
    weights = {
        name: tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()
        for name, tensor in model.named_parameters()
    }
    sent = fingerprint(weights, version)
    got = await engine.load(weights, version)
    check_same(sent, got)
    difference = await canary_difference(engine, model)
    limit = _TOLERANCES[dtype] if tolerance is None else tolerance
    if not difference <= limit:
        raise WeightSyncError(
            f"expected the engine's logprobs of the canary within {limit:g} of the learner's after "
            f"loading version {version}, got a difference of {difference:.6g}, although the bytes "
            "arrived. A part of the served model, or a cache, did not take the new weights."
        )
    return Sync(fingerprint=got, canary_difference=difference)


def check_same(sent: Fingerprint, got: Fingerprint) -> None:
    """Compare what was sent with what the engine says that it loaded.

    Raises:
        WeightSyncError: they differ; the digests, and the tensors whose sums differ, are named.
    """
    if sent.digest == got.digest:
        return
    wrong = differing_sums(sent, got)
    total = len(sent.sums.keys() | got.sums.keys())
    shown = "; ".join(
        f"{name}: sum {sent.sums.get(name)} sent, {got.sums.get(name)} loaded"
        for name in wrong[:_SHOWN]
    )
    raise WeightSyncError(
        f"expected the engine to load version {sent.version} with the digest {sent.digest[:16]}, "
        f"got {got.digest[:16]}. {len(wrong)} of {total} tensors differ in their sums"
        f"{': ' + shown if wrong else '; their bytes do'}."
    )


def differing_sums(sent: Fingerprint, got: Fingerprint) -> list[str]:
    """Name the tensors that one side lacks, or whose sums differ by more than rounding."""
    names = sorted(sent.sums.keys() | got.sums.keys())
    return [name for name in names if not _equal(sent.sums.get(name), got.sums.get(name))]


async def canary_difference(engine: Engine, model: PreTrainedModel) -> float:
    """Sample a completion, and return how far its logprobs are from the model's own."""
    vocab_size, context = int(model.config.vocab_size), engine.max_context
    tokens = min(16, context // 4)
    rng = np.random.default_rng(derive("canary"))
    prompt = rng.integers(0, vocab_size, min(300, context - tokens)).tolist()
    sampling = Sampling(temperature=0.7, max_tokens=tokens)
    completion = await engine.generate(prompt, sampling, derive("canary"))
    expected = model_logprobs(model, prompt, completion, sampling.temperature)
    return float(np.abs(completion.logprobs - expected).max(initial=0.0))


def model_logprobs(
    model: PreTrainedModel, prompt: list[int], completion: Completion, temperature: float
) -> NDArray[np.float32]:
    """Score a completion's ids with a model's own forward, in float32."""
    ids_T = torch.tensor([*prompt, *completion.ids.tolist()], device=model.device)
    training = model.training
    model.eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        with torch.no_grad():
            logits_TV: Tensor = model(ids_T[None, :-1]).logits[0].float()
    finally:
        model.train(training)
    logp_TV = (logits_TV[len(prompt) - 1 :] / temperature).log_softmax(-1)
    chosen = logp_TV.gather(1, ids_T[len(prompt) :, None]).squeeze(1)
    scored: NDArray[np.float32] = chosen.cpu().numpy()
    return scored


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (
        math.isnan(one) and math.isnan(other)
    )
