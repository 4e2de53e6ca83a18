"""Decoding strategies over an engine on tape, by cases worked out by hand."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from proofgym.agents import (
    Act,
    AgentError,
    Assignment,
    Completion,
    Driver,
    EngineError,
    EnginePolicy,
    Finish,
    Policy,
    Renderer,
    Scripted,
)
from proofgym.agents.decoding import (
    BudgetForcing,
    Choosing,
    DecodeConfig,
    decoded,
    most_common,
    most_likely,
)
from proofgym.envs import Blame, Env, Episode, Limits, Sampling, Source, Turn
from proofgym.trainers.sample import samples_of
from proofgym.verifiers import Message, Secret, Task, assistant, exact, tool_call

TASK = Task(id="six", prompt="2*3", answer=Secret("6"))


class Answer(Env):
    """Takes one answer."""

    rubric = exact()
    limits = Limits(turns=2, tokens=400)


def play(policy: Policy) -> Episode:
    driver = Driver(Answer, policy, retries=0)
    return asyncio.run(driver.run([Assignment(task=TASK, seed=5)]))[0]


def turn(logprobs: Sequence[float]) -> Turn:
    count = len(logprobs)
    return Turn(
        row=0,
        prompt_ids=np.zeros(1, dtype=np.int32),
        prompt_source=np.zeros(1, dtype=np.uint8),
        ids=np.zeros(count, dtype=np.int32),
        logprobs=np.array(logprobs, dtype=np.float32),
        versions=np.zeros(count, dtype=np.int32),
        sampling=Sampling(),
        finish="stop",
        seed=0,
    )


def act(message: Message | str, *logprobs: float, cut: bool = False) -> Act:
    said = assistant(message) if isinstance(message, str) else message
    return Act(message=said, turn=turn(logprobs or (-1.0,)), cut=cut)


LIKELY = {
    "the mean counts, not the sum": ([act("a", -1.0), act("b", -0.9, -0.9)], 1),
    "the first of equals": ([act("a", -1.0), act("b", -1.0)], 0),
    "a cut one comes last": ([act("a", -0.1, cut=True), act("b", -9.0)], 1),
    "only cut ones": ([act("a", -2.0, cut=True), act("b", -1.0, cut=True)], 1),
}


@pytest.mark.parametrize(("candidates", "index"), LIKELY.values(), ids=LIKELY.keys())
def test_the_most_likely_candidate(candidates: list[Act], index: int) -> None:
    assert most_likely(candidates) == index


CALL = tool_call("f", a=1, b=2)
SWAPPED = assistant("", type(CALL)(id="x", name="f", arguments='{"b": 2, "a": 1}'))
COMMON = {
    "two of three": ([act("7"), act("6"), act("6")], 1),
    "a tie goes to the first": ([act("7"), act("6"), act("6"), act("7")], 0),
    "by the final answer, not the text": (
        [act("so 7"), act("it is \\boxed{6}"), act("hence \\boxed{6}")],
        1,
    ),
    "a cut one has no vote": ([act("7", cut=True), act("7", cut=True), act("6")], 2),
    "only cut ones": ([act("7", cut=True), act("7", cut=True), act("6", cut=True)], 0),
    "calls by their arguments": ([act("7"), act(assistant("", CALL)), act(SWAPPED)], 1),
    "a call is no answer": ([act("6"), act(assistant("6", CALL)), act("6")], 0),
}


@pytest.mark.parametrize(("candidates", "index"), COMMON.values(), ids=COMMON.keys())
def test_the_most_common_candidate(candidates: list[Act], index: int) -> None:
    assert most_common(candidates) == index


def taped(renderer: Renderer, tape: Any, *said: tuple[str, float]) -> tuple[EnginePolicy, Any]:
    """An engine that says these texts in turn, each token with the same logprob."""
    left = list(said)

    def reply(prompt: list[int], sampling: Sampling, seed: int) -> Completion:
        text, logprob = left.pop(0)
        ids = np.array([*renderer.encode(text), renderer.stop_id], dtype=np.int32)
        return Completion(
            ids=ids,
            logprobs=np.full(len(ids), logprob, dtype=np.float32),
            versions=np.zeros(len(ids), dtype=np.int32),
            finish=Finish.STOP,
        )

    engine = tape(reply)
    return EnginePolicy(engine, renderer, Sampling(max_tokens=64)), engine


def test_best_of_n_says_one_of_n_and_keeps_its_exact_tokens(renderer: Renderer, tape: Any) -> None:
    policy, engine = taped(renderer, tape, ("7", -2.0), ("6", -0.25), ("8", -1.0))
    choosing = Choosing(policy.seat, 3)
    episode = play(choosing)
    assert episode.solved
    (only,) = episode.turns
    assert renderer.decode(only.ids.tolist()) == "6<|end|>"
    assert only.logprobs.tolist() == [-0.25] * 2
    assert len({seed for _, _, seed in engine.asked}) == 3
    assert only.seed == engine.asked[1][2]
    assert choosing.sampled_tokens == 6
    assert len({tuple(prompt) for prompt, _, _ in engine.asked}) == 1


def test_majority_says_what_most_say(renderer: Renderer, tape: Any) -> None:
    policy, _ = taped(renderer, tape, ("7", -0.1), ("6", -3.0), ("6", -2.0))
    assert play(decoded(policy, DecodeConfig.parse("majority-3"))).solved


def test_a_chooser_may_be_a_model_that_is_waited_for(renderer: Renderer, tape: Any) -> None:
    async def second(candidates: Sequence[Act]) -> int:
        await asyncio.sleep(0)
        return 1

    policy, _ = taped(renderer, tape, ("7", -0.1), ("6", -3.0))
    assert play(Choosing(policy.seat, 2, second)).solved


def test_best_of_one_is_the_policy_itself(renderer: Renderer, tape: Any) -> None:
    plain, _ = taped(renderer, tape, ("6", -1.0))
    one, _ = taped(renderer, tape, ("6", -1.0))
    a, b = play(plain).turns[0], play(Choosing(one.seat, 1)).turns[0]
    assert (a.seed, a.ids.tolist(), a.row) == (b.seed, b.ids.tolist(), b.row)


def test_an_engine_that_fails_one_candidate_is_at_fault(renderer: Renderer, tape: Any) -> None:
    engine = tape(lambda *_: EngineError("dead"))
    policy = EnginePolicy(engine, renderer, Sampling())
    episode = play(Choosing(policy.seat, 3))
    assert episode.fault is not None
    assert episode.fault.blame is Blame.INFRASTRUCTURE


# budgets


THINK, THOUGHT = "<|think|>", "<|thought|>"


def script(
    renderer: Renderer, parts: list[str]
) -> Callable[[list[int], Sampling, int], Completion]:
    """Say these pieces; each ends at its length, or at a stop token that it has."""
    left = list(parts)

    def reply(prompt: list[int], sampling: Sampling, seed: int) -> Completion:
        ids = renderer.encode(left.pop(0))
        stops = [n for n, token in enumerate(ids) if token in sampling.stop_ids]
        ids = ids[: stops[0] + 1] if stops else ids
        kept = np.array(ids[: sampling.max_tokens], dtype=np.int32)
        stopped = bool(stops) and len(kept) == len(ids)
        return Completion(
            ids=kept,
            logprobs=-np.arange(1, len(kept) + 1, dtype=np.float32),
            versions=np.full(len(kept), 3, dtype=np.int32),
            finish=Finish.STOP if stopped else Finish.LENGTH,
        )

    return reply


BUDGETS: dict[str, tuple[int, int, list[str], str, list[int]]] = {
    # least, most, what the engine says, the whole message, sampled tokens of each turn
    "within": (0, 9, [f"{THINK}ab{THOUGHT}", "6<|end|>"], f"{THINK}ab{THOUGHT}6<|end|>", [4, 2]),
    "too long": (0, 3, [f"{THINK}abcdef", "6<|end|>"], f"{THINK}ab{THOUGHT}6<|end|>", [3, 2]),
    "too short": (
        4,
        9,
        [f"{THINK}a{THOUGHT}", f"bc{THOUGHT}", "6<|end|>"],
        f"{THINK}aWaitbc{THOUGHT}6<|end|>",
        [2, 3, 2],
    ),
    "no thinking": (2, 9, ["6<|end|>"], "6<|end|>", [2]),
    "long without thinking": (0, 3, ["123456", "6<|end|>"], "1236<|end|>", [3, 2]),
}


@pytest.mark.parametrize(
    ("least", "most", "parts", "whole", "sampled"), BUDGETS.values(), ids=BUDGETS.keys()
)
def test_thinking_is_held_to_its_budget_and_every_token_is_recorded(
    renderer: Renderer,
    tape: Any,
    least: int,
    most: int,
    parts: list[str],
    whole: str,
    sampled: list[int],
) -> None:
    engine = tape(script(renderer, parts))
    policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
    episode = play(BudgetForcing(policy, most=most, least=least))
    assert [len(one.ids) for one in episode.turns] == sampled
    assert len(episode.rewards) == len(episode.turns)
    (row,) = samples_of(episode)
    opened = len(episode.turns[0].prompt_ids)
    assert renderer.decode(row.tokens[opened:].tolist()) == whole
    # whatever was sampled was sampled after exactly the tokens before it in the row
    at = opened
    for one, (prompt, _, _) in zip(episode.turns, engine.asked, strict=True):
        at += 0 if one is episode.turns[0] else len(one.prompt_ids)
        assert prompt == row.tokens[:at].tolist()
        at += len(one.ids)
    forced = row.source[opened:] == Source.FORCED
    assert int(forced.sum()) == len(row.tokens) - opened - sum(sampled)
    assert not np.any(row.action[opened:] & forced)
    assert episode.reward == float(episode.solved)


def test_a_message_within_its_budget_is_read_as_one(renderer: Renderer, tape: Any) -> None:
    engine = tape(script(renderer, [f"{THINK}abcdef", "6<|end|>"]))
    policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
    episode = play(BudgetForcing(policy, most=3))
    assert (episode.messages[-1].reasoning, episode.messages[-1].content) == ("ab", "6")
    assert episode.solved
    assert episode.rewards == (0.0, 1.0)


@pytest.mark.parametrize("room", [1, 2, 3, 4, 5])
def test_a_context_that_fills_up_ends_the_episode(renderer: Renderer, tape: Any, room: int) -> None:
    engine = tape(script(renderer, [f"{THINK}abc", "66666<|end|>"]))
    engine.max_context = len(renderer.open(TASK.messages, ()).prompt.ids) + room
    policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
    episode = play(BudgetForcing(policy, most=3))
    assert episode.stop.value == "context_overflow"
    assert (episode.fault, episode.sampled_tokens) == (None, min(room, 3) + max(0, room - 4))


WORDS = {
    "best-of-8": DecodeConfig(kind="best-of", samples=8),
    "majority-3": DecodeConfig(kind="majority", samples=3),
    "budget:256": DecodeConfig(kind="budget", most=256),
    "budget:64-256": DecodeConfig(kind="budget", least=64, most=256),
}


@pytest.mark.parametrize(("word", "config"), WORDS.items(), ids=WORDS.keys())
def test_a_strategy_is_one_word(word: str, config: DecodeConfig) -> None:
    assert DecodeConfig.parse(word) == config


@pytest.mark.parametrize("word", ["best-of", "best-of-0", "budget:", "budget:9-3", "beam-4", ""])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(AgentError, match="expected"):
        DecodeConfig.parse(word)


def test_a_script_is_not_decoded() -> None:
    with pytest.raises(AgentError, match="one thing only"):
        decoded(Scripted(lambda *_: assistant("6")), DecodeConfig.parse("best-of-2"))
