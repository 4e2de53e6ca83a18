"""Named algorithms take real steps on a tiny policy; bad batches are errors or no update."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from proofgym.config import read_toml
from proofgym.envs import Stop
from proofgym.trainers.algorithm import policy_loss, prepare
from proofgym.trainers.errors import TrainError
from proofgym.trainers.losses.value_loss import value_loss
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.presets import PRESETS
from proofgym.trainers.run_config import RunConfig
from proofgym.trainers.value_head import LinearValue, ValueHead
from proofgym.verifiers import Task, Transcript, verifier
from tests.trainers.test_rl import Even, Setup, changed, episode, rl_config
from tests.trainers.test_run import run


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
    raw: dict[str, Any] = {"prompts": 8, "group_size": 8, "steps": 40, "algorithm": "ppo"}
    done = Setup(Digits, rl_config(**raw)).steps(40)
    reward = [one.metrics["reward/mean"] for one in done]
    assert sum(reward[-5:]) / 5 > sum(reward[:5]) / 5 + 0.2
    explained = [one.metrics["value/explained_var"] for one in done]
    assert explained[0] == pytest.approx(0.0, abs=1e-6), "a new critic knows no more than the mean"
    assert min(explained) > -0.3
    # with whole-batch means equal, half a token's squared error is at most half the variance
    loss = [one.metrics["loss/value"] for one in done]
    spread = [one.metrics["reward/std"] for one in done]
    assert all(a < 0.75 * b**2 for a, b in zip(loss, spread, strict=True))


def test_before_every_batch_values_and_returns_get_one_mean() -> None:
    setup = Setup(Even, rl_config(algorithm="ppo"))
    for reward in (1.0, 3.0):
        played = [
            episode(reward, tokens=3), episode(None, group=1), episode(0.0, group=2, tokens=1)
        ]  # fmt: skip
        updates = prepare(played, setup.config, setup.learner).updates
        (batch,) = updates[0]
        assert batch.value_N is not None
        assert float(batch.value_N.mean()) == pytest.approx(0.75 * reward), "over action tokens"
        with torch.no_grad():
            values = setup.learner.logprobs(batch).value_N
        torch.testing.assert_close(values, batch.value_N)
        setup.learner.step(updates[0], policy_loss(setup.config))


def test_a_critic_that_is_not_kept_centred_stays_as_it_is() -> None:
    setup = Setup(Even, rl_config(algorithm="ppo", critic={"centre": False}))
    ((batch,),) = prepare(
        [episode(1.0), episode(0.0, group=1)], setup.config, setup.learner
    ).updates
    assert batch.value_N is not None
    assert not batch.value_N.any()


def test_a_critic_on_fixed_states_is_never_worse_than_a_constant() -> None:
    rng = torch.Generator().manual_seed(0)
    states_NH = torch.randn(512, 64, generator=rng) + torch.randn(64, generator=rng) / 3
    return_N = 0.7 + 0.3 * torch.tanh(states_NH[:, :8].sum(-1) / 3)

    def explained(*, centre: bool) -> list[float]:
        head = LinearValue(64, share_trunk=False)
        optimizer = torch.optim.AdamW(head.parameters(), lr=ValueHead().lr, betas=(0.9, 0.95))
        found = []
        for _ in range(60):
            if centre:
                head.shift(float((return_N - head(states_NH).detach()).mean()))
            value_N = head(states_NH)
            missed_N = return_N - value_N.detach()
            found.append(1.0 - float(missed_N.var() / return_N.var()))
            value_loss(value_N, value_N.detach(), return_N, clip=0.2).loss_N.mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return found

    assert min(explained(centre=False)) < -0.05, "else this proves nothing"
    found = explained(centre=True)
    assert min(found) > -1e-3
    assert found[-1] > 0.5, "with equal means: the value loss is less than half of the first"


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


@pytest.mark.slow
def test_ppo_learns_the_quickstart_task_and_its_critic_to_foresee(tmp_path: Path) -> None:
    table = read_toml(Path(__file__).parents[2] / "recipes" / "quickstart.toml")
    sft, rl = table["stages"]["sft"], table["stages"]["grpo"]
    sft |= {"steps": 150, "optimizer": {**sft["optimizer"], "warmup_steps": 10}}
    rl |= {"steps": 16, "prompts": 24, "algorithm": "ppo"}
    rl["critic"] = {"kind": "value_head", "lr": 1e-2}  # 128 numbers wide, so it may be large
    table |= {"stages": {"sft": sft, "ppo": rl}, "evaluation": {"tasks": 8}}
    run(tmp_path / "run", RunConfig.model_validate(table))
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    steps = [one for one in records if one["kind"] == "step" and one["stage"] == "ppo"]

    reward = [step["reward/mean"] for step in steps]
    assert fmean(reward[-4:]) > fmean(reward[:4]) + 0.08
    explained = [step["value/explained_var"] for step in steps]
    assert min(explained) > -0.3
    assert fmean(explained[-4:]) > 0.08
