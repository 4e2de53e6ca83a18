"""Completions on the wire, as vLLM 0.26 to 0.33 write them."""

from typing import Any

import pytest

from proofgym.agents.engine import Finish
from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.token_wire import (
    COMPLETIONS,
    GENERATE,
    TokenRequest,
    body_of,
    completion_of,
)
from proofgym.envs import Sampling

REQUEST = TokenRequest(
    ids=[1, 87],
    sampling=Sampling(temperature=0.5, max_tokens=4, stop_ids=(9,)),
    seed=17,
    request_id="r",
    priority=2,
)


@pytest.mark.parametrize("path", [GENERATE, COMPLETIONS])
def test_a_request_sets_every_knob_that_a_models_own_config_could(path: str) -> None:
    body = body_of(REQUEST, path=path, model="policy")
    knobs = body["sampling_params"] if path == GENERATE else body

    assert (body["model"], body["request_id"], body["priority"]) == ("policy", "r", 2)
    assert body["token_ids" if path == GENERATE else "prompt"] == [1, 87]
    assert {name: knobs[name] for name in ("temperature", "max_tokens", "seed")} == {
        "temperature": 0.5,
        "max_tokens": 4,
        "seed": 17,
    }
    assert (knobs["stop_token_ids"], knobs["ignore_eos"], knobs["logprobs"]) == ([9], True, 0)
    assert (knobs["top_p"], knobs["top_k"], knobs["repetition_penalty"]) == (1.0, 0, 1.0)


def choice(**changed: Any) -> dict[str, Any]:
    logprobs = {"content": [{"token_id": 374, "logprob": -6.5}, {"token_id": 9, "logprob": -1}]}
    made = {"index": 0, "token_ids": [374, 9], "finish_reason": "stop", "logprobs": logprobs}
    return {"choices": [{**made, **changed}]}


SHAPES = {
    "0.32 generate": (
        choice(
            weight_versions=[
                {"version": "3", "start": 0, "end": 1},
                {"version": "4", "start": 1, "end": 2},
            ]
        ),
        [3, 4],
    ),
    "0.26 generate": (
        choice(
            logprobs={
                "content": [
                    {"token": "token_id:374", "logprob": -6.5},
                    {"token": "token_id:9", "logprob": -1.0},
                ]
            }
        ),
        [7, 7],
    ),
    "completions": (
        choice(
            text="x",
            logprobs={"token_logprobs": [-6.5, -1.0], "tokens": ["token_id:374", "token_id:9"]},
        ),
        [7, 7],
    ),
}


@pytest.mark.parametrize(("content", "versions"), SHAPES.values(), ids=SHAPES.keys())
def test_every_known_shape_of_a_completion_is_read(
    content: dict[str, Any], versions: list[int]
) -> None:
    read = completion_of(content, version=7)

    assert read.ids.tolist() == [374, 9]
    assert read.logprobs.tolist() == [-6.5, -1.0]
    assert read.versions.tolist() == versions
    assert read.finish is Finish.STOP


def test_an_aborted_completion_may_be_empty() -> None:
    content = choice(token_ids=[], finish_reason="abort", logprobs=None)
    read = completion_of(content, version=1)
    assert (len(read.ids), len(read.logprobs), read.finish) == (0, 0, Finish.ABORT)


BROKEN = {
    "no choice": {"choices": []},
    "no ids": {"choices": [{"finish_reason": "stop"}]},
    "unknown finish": choice(finish_reason="tired"),
    "too few logprobs": choice(logprobs={"content": [{"logprob": -1.0}]}),
    "no logprobs": choice(logprobs=None),
    "a version that is no number": choice(
        weight_versions=[{"version": "default", "start": 0, "end": 2}]
    ),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_completion_is_an_error_and_no_data(content: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="expected a"):
        completion_of(content, version=1)
