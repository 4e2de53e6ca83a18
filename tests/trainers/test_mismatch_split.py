from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.losses.terms import ActionLogprobs
from proofgym.trainers.mismatch_split import MismatchSplit
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import Sample


def test_the_mismatch_is_parted_by_the_version_that_drew_a_token(
    make_sample: Callable[..., Sample],
) -> None:
    sample = replace(
        make_sample("oaaa"),
        logp=np.array([0.0, -1.0, -2.0, -3.0], dtype=np.float32),
        version=np.array([-1, 4, 5, 5], dtype=np.int32),
    )
    config = RlConfig.model_validate({"kind": "rl", "steps": 1, "optimizer": {"lr": 1.0}})
    plain = policy_loss(config)
    split = MismatchSplit(plain, version=5)
    logp_N = torch.tensor([-1.5, -2.1, -3.3], requires_grad=True)
    scored = ActionLogprobs(logp_N=logp_N, entropy_N=torch.zeros(3), value_N=None)
    batches: list[Any] = pack([Weighted(sample=sample, advantage=1.0, w_pg=1.0)], token_budget=9)
    assert torch.equal(split(scored, batches[0]).loss, plain(scored, batches[0]).loss)
    assert split.metrics() == {
        "mismatch/engine_abs_mean": pytest.approx(0.2),
        "mismatch/stale_abs_mean": pytest.approx(0.5),
    }


def test_a_kind_of_token_that_there_is_none_of_has_no_mean() -> None:
    config = RlConfig.model_validate({"kind": "rl", "steps": 1, "optimizer": {"lr": 1.0}})
    assert MismatchSplit(policy_loss(config), version=0).metrics() == {}
