"""One completion on the wire: token ids out, token ids with logprobs and versions back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofgym.agents.engine import Completion, Finish
from proofgym.agents.errors import EngineError
from proofgym.envs import Sampling

GENERATE = "/inference/v1/generate"
COMPLETIONS = "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is asked of a server.

    Args:
        ids: the prompt.
        sampling: how tokens are drawn.
        seed: in [0, 2**63); vLLM takes -1 for no seed at all.
        request_id: unique; to abort by.
        priority: lower goes first.
    """

    ids: Sequence[int]
    sampling: Sampling
    seed: int
    request_id: str
    priority: int


def body_of(request: TokenRequest, *, path: str, model: str) -> dict[str, Any]:
    """Write the request as the route at ``path`` takes it.

    Every knob that a model's own generation config could set is set here to do nothing.
    """
    sampling = request.sampling
    knobs: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "seed": request.seed,
        "stop_token_ids": list(sampling.stop_ids),
        "ignore_eos": True,  # only the stop tokens that were asked for
        "logprobs": 0,  # of the sampled token alone
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    common = {"model": model, "request_id": request.request_id, "priority": request.priority}
    if path == GENERATE:
        return {**common, "token_ids": list(request.ids), "sampling_params": {**knobs, **_TERSE}}
    return {
        **common,
        **knobs,
        "prompt": list(request.ids),
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }


_TERSE = {"detokenize": False}


def abort_ids(request_id: str) -> list[str]:
    """Name a request as the servers' engines know it, for either route."""
    return [f"generate-tokens-{request_id}", f"cmpl-{request_id}-0", f"cmpl-{request_id}"]


def completion_of(content: Mapping[str, Any], *, version: int, spans: bool = True) -> Completion:
    """Read a reply of either route, in the shapes of vLLM 0.26 to 0.33.

    Args:
        content: the reply's JSON.
        version: of the weights, where the reply does not say which drew each token.
        spans: whether to believe what it says.

    Raises:
        EngineError: ids and logprobs are missing or do not belong together.
    """
    try:
        choice = content["choices"][0]
        ids = np.array(choice["token_ids"] or [], dtype=np.int32)
        logprobs = np.array(_logprobs(choice.get("logprobs")), dtype=np.float32)
        finish = _FINISHES[choice["finish_reason"]]
        versions = np.full(len(ids), version, dtype=np.int32)
        for span in (choice.get("weight_versions") or ()) if spans else ():
            versions[span["start"] : span["end"]] = int(span["version"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EngineError(
            "expected a completion with token_ids, logprobs and a known finish_reason, got "
            f"{str(content)[:300]} ({type(error).__name__}: {error}). Is it a vLLM server?"
        ) from error
    if len(ids) != len(logprobs):
        raise EngineError(
            f"expected a logprob for each of {len(ids)} tokens, got {len(logprobs)}. Start the "
            "server with --logprobs-mode processed_logprobs and --max-logprobs of at least 1."
        )
    return Completion(ids=ids, logprobs=logprobs, versions=versions, finish=finish)


_FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH, "abort": Finish.ABORT}


def _logprobs(found: Mapping[str, Any] | None) -> list[float]:
    if found is None:
        return []
    if "token_logprobs" in found:
        return [float(one) for one in found["token_logprobs"]]
    return [float(one["logprob"]) for one in found["content"] or []]
