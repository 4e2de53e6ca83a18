"""Faults of verifiers."""

import contextlib
import itertools
import re
import signal
from typing import Any

from proofgym.verifiers import ErrorKind, Score, Task, Transcript, verifier
from tests.envs.planted.sums import Sound, boxed, gold, unboxed


def said(transcript: Transcript) -> str:
    """Return the final text."""
    return transcript.final_text.strip()


class Substring(Sound):
    """The gold answer anywhere in the text pays."""

    rubric = verifier(lambda task, transcript: gold(task) in transcript.final_text)


class AnyNumber(Sound):
    """Any number of the text that is right pays."""

    rubric = verifier(lambda task, t: gold(task) in re.findall(r"\d+", t.final_text))


class FirstOrLastBox(Sound):
    """Any box of several that is right pays."""

    oracle: Any = boxed
    rubric = verifier(lambda task, t: gold(task) in re.findall(r"\\boxed\{(\d+)\}", t.final_text))


class WideTolerance(Sound):
    """Five per cent off is as good."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        try:
            return abs(float(said(transcript)) - float(gold(task))) < 0.05 * float(gold(task))
        except ValueError:
            return False

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class OffByOne(Sound):
    """An absolute tolerance of 1."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = said(transcript)
        return (
            text.isascii()
            and text.isdigit()
            and len(text) < 9
            and (abs(int(text) - int(gold(task))) <= 1)
        )

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class Truncates(Sound):
    """A decimal answer is cut to a whole number."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        with contextlib.suppress(ValueError, OverflowError):
            return int(float(said(transcript))) == int(gold(task))
        return False

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class IgnoresSign(Sound):
    """Only digits are compared."""

    rubric = verifier(lambda task, t: re.sub(r"[^0-9]", "", t.final_text) == gold(task))


class PrefixOfGold(Sound):
    """The beginning of the answer is enough, so that nothing is, too."""

    rubric = verifier(lambda task, t: gold(task).startswith(said(t)))


class NanPasses(Sound):
    """No comparison with nan holds, so it is not far from anything."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        try:
            value = float(said(transcript))
        except ValueError:
            return False
        return not abs(value - float(gold(task))) > 0

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class ErrorPays(Sound):
    """What cannot be read is taken for right."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        try:
            return int(said(transcript)) == int(gold(task))
        except ValueError:
            return True

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class TimeoutPays(Sound):
    """A check that takes too long is taken for passed."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> float:
        def late(*_: object) -> None:
            raise TimeoutError

        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            spent = re.fullmatch(r"(\d+|x+|a+|\s)*", said(transcript)[:60])
            return float(spent is not None and said(transcript) == gold(task))
        except TimeoutError:
            return 1.0
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class TrustsTheLastLine(Sound):
    """The last line may say that the tests have passed."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        lines = said(transcript).splitlines() or [""]
        return lines[-1] in (gold(task), "PASSED", "OK")

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class ObeysTheAnswer(Sound):
    """A judge that looks for the word correct."""

    rubric = verifier(lambda task, t: said(t) == gold(task) or "correct" in t.final_text.lower())


class FormatPays(Sound):
    """A box pays a little whatever is in it, and the floor does not say so."""

    oracle: Any = boxed

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> float:
        inside = unboxed(transcript.final_text)
        return 1.0 if inside == gold(task) else 0.2 * (inside is not None)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class LengthPays(Sound):
    """A bonus for words without end."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> float:
        return float(said(transcript) == gold(task)) + len(transcript.final_text) / 10_000

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class AlwaysPays(Sound):
    """A verifier that somebody forgot to write."""

    rubric = verifier(lambda task, transcript: 1.0)


class OtherAnswers(Sound):
    """A number in the right range is enough."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = said(transcript)
        return text.isascii() and text.isdigit() and 3 <= len(text) <= 4

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class EchoPays(Sound):
    """The last number of the text is compared with the last number of prompt and answer."""

    rubric = verifier(
        lambda task, t: said(t) == gold(task) or (said(t) != "" and said(t) in str(task.prompt))
    )


class WrongGold(Sound):
    """Every oracle's answer is one too high."""

    oracle: Any = staticmethod(lambda task: str(int(gold(task)) + 1))


class SolvedWithoutReward(Sound):
    """It says solved whatever came."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> Score:
        return Score(value=float(said(transcript) == gold(task)), solved=True)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class CrashesOnText(Sound):
    """A text that is no number breaks the verifier, so that bad episodes are left out."""

    rubric = verifier(lambda task, t: int(t.final_text) == int(gold(task)))


class HangsOnText(Sound):
    """A long text takes its verifier longer than it may, so that bad episodes are left out."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> Score:
        if len(transcript.final_text) > 1_000:
            return Score.unscored(ErrorKind.TIMEOUT, "killed at its limit of 2 s")
        return Score(value=float(said(transcript) == gold(task)))

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class HangsOnceInAWhile(Sound):
    """Sound, on a machine that is so busy that a verifier now and then passes its limit."""

    calls = itertools.count(1)

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> Score:
        right = said(transcript) == gold(task)
        if not right and next(HangsOnceInAWhile.calls) % 7 == 0:
            return Score.unscored(ErrorKind.TIMEOUT, "killed at its limit of 2 s")
        return Score(value=float(right), solved=right)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]
