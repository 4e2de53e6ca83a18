"""Names fill defaults, single fields override, and what makes no sense is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.presets import PRESETS
from proofgym.trainers.run_config import RlConfig


@pytest.mark.parametrize("name", PRESETS)
def test_a_resolved_configuration_reads_back_as_itself(name: str) -> None:
    config = AlgorithmConfig.model_validate({"algorithm": name})
    assert AlgorithmConfig.model_validate_json(config.model_dump_json()) == config


def test_a_name_fills_what_is_not_given() -> None:
    config = AlgorithmConfig.model_validate({"algorithm": "dapo", "loss": {"clip_high": 0.4}})
    assert config.advantage.kind == "group_std"
    assert config.overlong.kind == "soft"
    assert config.loss.model_dump() == {
        "kind": "ppo_clip", "clip_low": 0.2, "clip_high": 0.4, "dual_clip": 3.0
    }  # fmt: skip


def test_another_kind_drops_the_settings_of_the_names_own() -> None:
    raw = {"algorithm": "grpo", "loss": {"kind": "gspo"}}
    loss = AlgorithmConfig.model_validate(raw).loss
    assert loss.model_dump() == {
        "kind": "gspo", "clip_low": 3e-4, "clip_high": 4e-4, "token_form": False
    }  # fmt: skip


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name misspelt": ({"algorithm": "grppo"}, "Did you mean 'grpo'"),
    "k1 in the loss": ({"kl": {"beta": 0.1, "estimator": "k1"}}, "expectation is zero"),
    "k3 in the reward": ({"kl": {"beta": 0.1, "place": "reward"}}, "kl.estimator must be k1"),
    "a group of one": ({"group_size": 1}, "no group baseline"),
    "gae without a critic": ({"advantage": {"kind": "gae"}}, "critic.kind must be"),
    "a critic nobody asks": ({"critic": {"kind": "value_head"}}, "critic.kind must be"),
    "the mismatch counted twice": ({"anchor": "behaviour"}, "count the mismatch twice"),
    "a filter that drops signal": (
        {"algorithm": "ppo", "filter_flat_groups": True},
        "filter_flat_groups must be false",
    ),
    "another loss's setting": ({"loss": {"kind": "cispo", "dual_clip": 3}}, "dual_clip"),
}


@pytest.mark.parametrize(("raw", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_combination_says_what_to_do(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AlgorithmConfig.model_validate(raw)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    raw = {"kind": "rl", "steps": 1, "prompts": 5, "updates": 2, "optimizer": {"lr": 1.0}}
    with pytest.raises(ValidationError, match="updates must divide prompts"):
        RlConfig.model_validate(raw)
