"""The audit finds faults that were planted, and finds none in a sound environment."""

from pathlib import Path

import pytest

from proofgym.envs.audit import Verdict, audit

ROOT = Path(__file__).parents[2]
PLANTED = {
    "rewards:Substring": {"reward.every-candidate", "reward.near-miss"},
    "rewards:AnyNumber": {"reward.every-candidate"},
    "rewards:FirstOrLastBox": {"reward.every-candidate"},
    "rewards:WideTolerance": {"reward.near-miss"},
    "rewards:OffByOne": {"reward.near-miss"},
    "rewards:Truncates": {"reward.near-miss"},
    "rewards:IgnoresSign": {"reward.near-miss"},
    "rewards:PrefixOfGold": {"reward.empty"},
    "rewards:NanPasses": {"reward.not-a-number"},
    "rewards:ErrorPays": {"reward.garbage", "reward.empty"},
    "rewards:TimeoutPays": {"reward.huge"},
    "rewards:TrustsTheLastLine": {"reward.override"},
    "rewards:ObeysTheAnswer": {"reward.override"},
    "rewards:FormatPays": {"reward.format-only"},
    "rewards:LengthPays": {"reward.huge", "reward.range"},
    "rewards:AlwaysPays": {"reward.empty", "reward.garbage", "reward.cut"},
    "rewards:OtherAnswers": {"reward.other-answer"},
    "rewards:EchoPays": {"reward.echo"},
    "rewards:WrongGold": {"oracle.best"},
    "rewards:SolvedWithoutReward": {"reward.empty"},
    "rewards:CrashesOnText": {"reward.crash"},
    "execution:Evaluates": {"exec.canary"},
    "execution:EvaluatesWithoutBuiltins": {"exec.canary"},
    "execution:RunsInAShell": {"exec.canary"},
    "execution:RunsAProgram": {"exec.canary"},
    "execution:ToolEvaluates": {"exec.canary"},
    "execution:Backtracks": {"exec.hang"},
    "execution:Exits": {"exec.exit"},
    "execution:Dies": {"exec.exit"},
    "leaks:InThePrompt": {"leak.prompt"},
    "leaks:InTheId": {"leak.task-id"},
    "leaks:InDisguise": {"leak.prompt"},
    "leaks:InAReply": {"leak.observation"},
    "leaks:InTheInfo": {"leak.prompt"},
    "state:UnseededChoice": {"determinism.episode"},
    "state:GlobalGenerator": {"determinism.global-rng"},
    "state:HashSeed": {"determinism.hash-seed"},
    "state:HashedTasks": {"determinism.hash-seed"},
    "state:TellsTheTime": {"determinism.episode"},
    "state:RemembersEpisodes": {"determinism.episode"},
    "state:LearnsFromTheLast": {"state.episodes"},
    "state:SharedBoard": {"state.instances"},
    "state:OutsideTheSnapshot": {"state.snapshot"},
    "state:ChangesItsTask": {"state.task"},
    "state:CutPays": {"reward.cut"},
    "state:CallsPay": {"reward.range"},
    "state:SameIds": {"data.ids"},
    "state:TrainsOnHeldOut": {"data.splits"},
    "state:Contradicts": {"data.contradiction"},
}
"""Module and class -> the checks that must fail."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    report = audit(f"tests.envs.planted.{name}", patience_s=2.5)
    found = {one.check for one in report.of(Verdict.FAIL)}
    assert PLANTED[name] <= found, report.card()
    assert report.failed()


@pytest.mark.slow
def test_a_sound_environment_passes_strictly() -> None:
    report = audit("tests.envs.planted.sums:Sound")
    assert not report.failed(strict=True), report.card()


@pytest.mark.slow
def test_a_text_that_always_leaves_its_episode_unscored_is_warned_of() -> None:
    report = audit("tests.envs.planted.rewards:HangsOnText")
    warned = {one.check: one.evidence for one in report.of(Verdict.WARN)}
    assert set(warned) == {"reward.unscored"}
    assert "3 times: " in warned["reward.unscored"][0]
    assert "killed at its limit of 2 s" in warned["reward.unscored"][0]


@pytest.mark.slow
def test_a_verifier_that_is_late_once_on_a_busy_machine_is_no_finding() -> None:
    report = audit("tests.envs.planted.rewards:HangsOnceInAWhile")
    assert report.of(Verdict.WARN) == (), report.card()
