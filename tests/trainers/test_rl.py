"""The step's parts on made-up episodes; tests/trainers/test_run.py takes real steps."""

import asyncio
import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proofgym.agents import (
    Assignment,
    Completion,
    Driver,
    EnginePolicy,
    Finish,
    Renderer,
)
from proofgym.agents.tiny_policy import TinyPolicyConfig, tiny_model, tiny_tokenizer
from proofgym.agents.transformers_engine import TransformersEngine
from proofgym.envs import (
    Blame,
    Env,
    Episode,
    Fault,
    Sampling,
    Source,
    Stop,
    Turn,
    environment_class,
    tool,
)
from proofgym.trainers.algorithm import TrainingGroup, training_groups, weigh
from proofgym.trainers.batch import pack
from proofgym.trainers.errors import FaultRateError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.rl import (
    RlStep,
    check_faults,
    draw_assignments,
    rl_step,
    rollout_metrics,
    solved_tasks,
    teaching_groups,
)
from proofgym.trainers.rollout import grouped
from proofgym.trainers.rollouts import LateConfig, Rollouts
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.step_bundle import Recorder
from proofgym.trainers.value_head import ValueHead
from proofgym.verifiers import ErrorKind, Score, Secret, Task, verifier


def episode(reward: float | None, *, group: int = 0, tokens: int = 2) -> Episode:
    turn = Turn(
        row=0,
        prompt_ids=np.array([1, 2], dtype=np.int32),
        prompt_source=np.full(2, Source.USER, dtype=np.uint8),
        ids=np.full(tokens, 3, dtype=np.int32),
        logprobs=np.zeros(tokens, dtype=np.float32),
        versions=np.zeros(tokens, dtype=np.int32),
        sampling=Sampling(),
        finish="stop",
        seed=0,
    )
    if reward is None:
        score = Score.unscored(ErrorKind.CRASHED, "the verifier fell over")
        fault = Fault(blame=Blame.ENVIRONMENT, phase="score", message="the verifier fell over")
    else:
        score, fault = Score(value=reward, solved=reward == 1.0), None
    return Episode(
        env_id="e", task_id=f"task {group}", group=group, rollout=0, seed=0, messages=(),
        turns=(turn,), rewards=(0.0 if reward is None else reward,), score=score, fault=fault,
        stop=Stop.ENV_ERROR if fault else Stop.FINISHED,
    )  # fmt: skip


def compared(episodes: Sequence[Episode]) -> list[TrainingGroup]:
    return training_groups(grouped(episodes, smallest=2), rl_config())


def test_an_unscored_episode_is_no_zero_in_its_groups_mean() -> None:
    (group,) = compared([episode(1.0), episode(None), episode(0.5)])
    assert [float(a) for a in group.advantages] == [0.25, -0.25]
    assert [one.reward for one in group.rollouts] == [1.0, 0.5]


def test_groups_left_with_one_episode_do_not_train() -> None:
    assert compared([episode(1.0), episode(None), episode(0.0, group=1)]) == []


def test_groups_are_centred_apart() -> None:
    groups = compared([episode(1.0), episode(5.0, group=1), episode(0.0), episode(3.0, group=1)])
    assert [[float(a) for a in group.advantages] for group in groups] == [[0.5, -0.5], [1.0, -1.0]]


def test_every_token_of_the_batch_weighs_the_same() -> None:
    groups = compared([episode(1.0, tokens=2), episode(0.0, tokens=6)])
    weighted = weigh(groups, rl_config())
    assert [one.w_pg for one in weighted] == [1 / 8, 1 / 8]
    assert [np.unique(one.advantage).tolist() for one in weighted] == [[0.5], [-0.5]]


@pytest.mark.parametrize(("failed", "bound"), [(0, 0.0), (1, 0.25), (4, 1.0)])
def test_faults_up_to_the_bound_pass(failed: int, bound: float) -> None:
    check_faults([episode(None if n < failed else 0.0) for n in range(4)], bound)


def test_more_faults_stop_the_run_and_quote_the_first() -> None:
    batch = [episode(0.0), episode(None, group=7), episode(0.0), episode(None)]
    with pytest.raises(FaultRateError, match=r"2 of 4.*task 7.*the verifier fell over"):
        check_faults(batch, 0.25)


def test_metrics_leave_unscored_episodes_out_of_rewards() -> None:
    metrics = rollout_metrics([episode(1.0), episode(None), episode(0.5)])
    assert metrics["reward/mean"] == 0.75
    assert metrics["pass@1"] == 0.5
    assert metrics["env/error_frac"] == pytest.approx(1 / 3)
    assert math.isnan(rollout_metrics([episode(None)])["reward/mean"])


def rl_config(**changed: Any) -> RlConfig:
    raw = {"kind": "rl", "steps": 4, "prompts": 2, "group_size": 4, "max_tokens": 6}
    return RlConfig.model_validate({**raw, "optimizer": {"lr": 1e-2}, **changed})


def test_assignments_are_groups_of_one_task_with_seeds_of_their_own() -> None:
    calculator = environment_class("tools/calculator-v0")
    found = draw_assignments(calculator, rl_config(), 0, "rl", 3)
    assert [(one.group, one.rollout) for one in found] == [(g, r) for g in (6, 7) for r in range(4)]
    assert all(one.task == found[(one.group - 6) * 4].task for one in found)
    assert len({one.seed for one in found}) == 8
    assert found == draw_assignments(calculator, rl_config(), 0, "rl", 3)
    assert found != draw_assignments(calculator, rl_config(), 0, "rl", 4)


class Even(Env):
    """Pays for an even number of characters: half of what a random policy says."""

    tasks = [Task(id=f"{n}", prompt=f"say {n}", answer=Secret("")) for n in range(12)]  # noqa: RUF012
    rubric = verifier(lambda task, transcript: len(transcript.final_text) % 2 == 0)


class Same(Even):
    """Pays the same whatever is said."""

    rubric = verifier(lambda task, transcript: 0.5)


class Setup:
    """A tiny policy with its learner, engine and driver."""

    def __init__(self, environment: type[Env], config: RlConfig) -> None:
        tokenizer = tiny_tokenizer()
        size = TinyPolicyConfig(hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8)
        self.model = tiny_model(size, tokenizer, seed=0)
        critic = config.critic if isinstance(config.critic, ValueHead) else None
        self.learner = Learner(
            self.model, OptimizerConfig(lr=1e-2), total_steps=config.steps, critic=critic
        )
        self.reference = copy.deepcopy(self.model).requires_grad_(False)
        self.engine = TransformersEngine(self.model)
        policy = EnginePolicy(
            self.engine, Renderer(tokenizer), Sampling(max_tokens=config.max_tokens)
        )
        self.driver = Driver(environment, policy)
        self.environment, self.config = environment, config

    async def publish(self, version: int) -> None:
        await self.engine.load({}, version)

    def steps(self, count: int) -> list[RlStep]:
        def draw(step: int, extra_round: int) -> list[Assignment]:
            return draw_assignments(
                self.environment, self.config, 0, "t", step, extra_round=extra_round
            )

        async def run() -> list[RlStep]:
            rollouts = Rollouts(
                self.driver,
                draw,
                first=0,
                total=count,
                staleness=0,
                late=LateConfig(),
                on_issue=lambda step, assignments: None,
            )
            return [
                await rl_step(
                    self.learner,
                    rollouts,
                    self.publish,
                    self.config,
                    step,
                    Recorder(Path("unused"), "t", step, keep=False),
                    reference=self.reference,
                )
                for step in range(count)
            ]

        return asyncio.run(run())

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def changed(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_step_trains_and_its_engine_samples_with_the_new_version() -> None:
    setup = Setup(Even, rl_config(prompts=4))
    before = setup.weights()
    first, second = setup.steps(2)
    assert changed(before, setup.weights())
    for number, done in enumerate((first, second)):
        versions = {int(v) for one in done.episodes for turn in one.turns for v in turn.versions}
        assert versions == {number}
    # the engine's logprobs against the learner's own: the same weights, so nothing to correct
    assert first.metrics["mismatch/abs_diff_mean"] < 1e-5
    assert second.metrics["mismatch/abs_diff_mean"] < 1e-5
    assert first.metrics["ratio/mean"] == pytest.approx(1.0, abs=1e-5)
    assert first.metrics["staleness/max"] == second.metrics["staleness/max"] == 0.0


def test_a_batch_of_equal_rewards_is_skipped_and_says_so() -> None:
    setup = Setup(Same, rl_config())
    before = setup.weights()
    (done,) = setup.steps(1)
    assert not changed(before, setup.weights())
    assert done.metrics["group/frac_zero_std"] == 1.0
    assert "loss" not in done.metrics
    assert "grad_norm" not in done.metrics
    assert {(one.outcome, one.reason) for one in done.endings} == {("filtered", "equal rewards")}


class Spy:
    """Say a call and then an answer, and keep what was read and said."""

    max_context = 999

    def __init__(self, renderer: Renderer) -> None:
        said = ['<|call|>double{ "number" :3 }', "6"]
        self.left = [[*renderer.encode(text), renderer.stop_id] for text in said]
        self.read: list[list[int]] = []
        self.said: list[list[int]] = []

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        self.read.append(list(prompt))
        self.said.append(self.left.pop(0))
        ids = np.array(self.said[-1], dtype=np.int32)
        logprobs = -np.arange(1, len(ids) + 1, dtype=np.float32) - 100 * len(self.said)
        versions = np.zeros(len(ids), dtype=np.int32)
        return Completion(ids=ids, logprobs=logprobs, versions=versions, finish=Finish.STOP)


def test_the_learner_trains_on_exactly_the_ids_that_were_sampled() -> None:
    @tool
    def double(number: int) -> str:
        """Double it.

        Args:
            number: any
        """
        return str(2 * number)

    class Doubling(Even):
        tools = (double,)

    renderer = Renderer(tiny_tokenizer())
    spy: Any = Spy(renderer)
    driver = Driver(Doubling, EnginePolicy(spy, renderer, Sampling()))
    task = Task(id="t", prompt="2*3", answer=Secret("6"))
    (played,) = asyncio.run(driver.run([Assignment(task=task, seed=0)]))
    other = replace(played, rewards=(0.0, 7.0))
    (batch,) = pack(weigh(compared([played, other]), rl_config())[:1], token_budget=999)
    assert batch.tokens_T.tolist() == spy.read[1] + spy.said[1]
    assert batch.tokens_T[batch.action_T].tolist() == spy.said[0] + spy.said[1]
    ends = [
        (len(read), len(read) + len(said)) for read, said in zip(spy.read, spy.said, strict=True)
    ]
    inside = [any(low <= t < high for low, high in ends) for t in range(len(batch.tokens_T))]
    assert batch.action_T.tolist() == inside
    for column in (batch.w_pg_T, batch.advantage_T, batch.behaviour_logp_T):
        assert (column != 0).tolist() == inside, "what was observed carries nothing"
    first = [-101.0 - n for n in range(len(spy.said[0]))]
    assert batch.behaviour_logp_T[batch.action_T][: len(first)].tolist() == first


def test_several_updates_a_batch_move_the_ratio_off_one() -> None:
    setup = Setup(Even, rl_config(prompts=4, updates=2))
    (done,) = setup.steps(1)
    assert setup.learner.step_number == 2
    assert abs(done.metrics["ratio/mean"] - 1.0) > 1e-6


def test_flat_groups_are_made_up_for_by_as_many_rounds_as_may_be() -> None:
    setup = Setup(Same, rl_config(extra_rounds=2))
    (done,) = setup.steps(1)
    assert len(done.episodes) == (1 + 2) * 2 * 4
    assert len({one.group for one in done.episodes}) == 6
    full = Setup(Even, rl_config(prompts=4, group_size=8, extra_rounds=50))
    (done,) = full.steps(1)
    assert teaching_groups(done.episodes) == 4


def test_a_task_is_solved_by_enough_of_its_scored_rollouts() -> None:
    batch = [
        episode(1.0),
        episode(1.0),
        episode(None),
        episode(0.0, group=1),
        episode(1.0, group=1),
    ]
    assert solved_tasks(batch, 0.9) == ["task 0"]
    assert solved_tasks(batch, 0.5) == ["task 0", "task 1"]


def test_retired_tasks_are_not_drawn_while_there_are_others() -> None:
    many = draw_assignments(Even, rl_config(prompts=99), 0, "rl", 0)
    train = {one.task.id for one in many}
    left = set(sorted(train)[:2])
    found = draw_assignments(Even, rl_config(prompts=8), 0, "rl", 0, retired=train - left)
    assert {one.task.id for one in found} == left
    assert draw_assignments(Even, rl_config(), 0, "rl", 0, retired=train), "some are drawn anyway"


@pytest.mark.parametrize("key", [{"extra_rounds": 1}, {"retire_solved": 0.9}])
def test_choosing_by_the_last_step_needs_staleness_0(key: dict[str, Any]) -> None:
    rl_config(**key)
    with pytest.raises(ValueError, match="need staleness 0"):
        rl_config(**key, staleness=1)
