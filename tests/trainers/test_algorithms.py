"""Named algorithms take real steps on a tiny policy; bad batches are errors or no update."""

import math
from dataclasses import replace
from typing import Any

import pytest

from proofgym.envs import Stop
from proofgym.trainers.algorithm import prepare
from proofgym.trainers.errors import TrainError
from proofgym.trainers.presets import PRESETS
from proofgym.verifiers import Task, Transcript, verifier
from tests.trainers.test_rl import Even, Setup, changed, episode, rl_config


def digits(task: Task, transcript: Transcript) -> float:
    """Pay for the fraction of digits: every token is worth something of its own."""
    text = transcript.final_text
    return sum(one.isdigit() for one in text) / max(len(text), 1)


class Digits(Even):
    """Pays for digits."""

    rubric = verifier(digits)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_named_algorithm_trains(name: str) -> None:
    setup = Setup(Digits, rl_config(algorithm=name))
    before = setup.weights()
    first, second = setup.steps(2)
    assert changed(before, setup.weights())
    for done in (first, second):
        assert math.isfinite(done.metrics["loss"])
        assert math.isfinite(done.metrics["grad_norm"])
    assert first.metrics["ratio/mean"] == pytest.approx(1.0, abs=1e-4)
    assert first.metrics["ratio/ess"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_ppo_with_a_critic_learns() -> None:
    raw: dict[str, Any] = {"prompts": 4, "group_size": 8, "steps": 40, "algorithm": "ppo"}
    done = Setup(Digits, rl_config(**raw)).steps(40)
    reward = [one.metrics["reward/mean"] for one in done]
    assert sum(reward[-5:]) / 5 > sum(reward[:5]) / 5 + 0.2
    explained = [one.metrics["value/explained_var"] for one in done]
    assert explained[0] == pytest.approx(0.0, abs=1e-6), "a new critic knows nothing"
    assert all(math.isfinite(one.metrics["loss/value"]) for one in done)


def test_a_reward_of_nan_is_an_error_that_names_its_task() -> None:
    setup = Setup(Even, rl_config())
    bad = replace(episode(0.0, group=3), rewards=(math.nan,))
    with pytest.raises(TrainError, match="finite rewards, got nan for task task 3"):
        prepare([episode(1.0, group=3), bad], setup.config, setup.learner)


@pytest.mark.parametrize(
    "rewards", [[None, None], [0.5, 0.5], []], ids=["all unscored", "all equal", "empty"]
)
def test_a_batch_without_signal_prepares_no_update(rewards: list[float | None]) -> None:
    setup = Setup(Even, rl_config())
    found = prepare([episode(one) for one in rewards], setup.config, setup.learner)
    assert found.updates == []


def test_a_batch_that_is_masked_whole_prepares_no_update() -> None:
    setup = Setup(Even, rl_config(overlong={"kind": "mask"}))
    cut = [replace(episode(reward), stop=Stop.MAX_TOKENS) for reward in (0.0, 1.0)]
    found = prepare(cut, setup.config, setup.learner)
    assert found.updates == []
    assert set(found.filtered.values()) == {"cut short"}
    assert found.metrics["group/masked_frac"] == 1.0
