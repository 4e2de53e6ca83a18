"""Whole tables of instructions, and what must hold for any response."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.verifiers import ErrorKind, Secret, Task, Transcript, assistant
from proofgym.verifiers.errors import BadTaskError
from proofgym.verifiers.instructions import (
    IFEVAL,
    IFEVALG,
    INSTRUCTIONS,
    Compat,
    Constraint,
    follows,
    instruction_following,
    read_constraints,
)

CASES = Path(__file__).parents[1] / "cases" / "instruction_following.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
EXAMPLE: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["sun"]},
    "keywords:frequency": {"keyword": "sun", "frequency": 1, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["c++"]},
    "keywords:letter_frequency": {"letter": "e", "let_frequency": 2, "let_relation": "less than"},
    "language:response_language": {"language": "fr"},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 3, "relation": "at least"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": 2,
        "nth_paragraph": 2,
        "first_word": "x",
    },
    "detectable_content:number_placeholders": {"num_placeholders": 1},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:number_highlighted_sections": {"num_highlights": 1},
    "detectable_format:multiple_sections": {"section_spliter": "Section", "num_sections": 2},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say hi."},
    "startend:end_checker": {"end_phrase": "Bye."},
    "change_case:capital_word_frequency": {"capital_frequency": 1, "capital_relation": "at least"},
    "copy:repeat_phrase": {"phrase": "the quick brown fox", "small_n": 2},
    "copy:copy": {"prompt_to_repeat": "Say hi."},
    "new:copy_span_idx": {"prompt_to_repeat": "Say hi to all.", "n_start": 4, "n_end": 5},
    "keywords:word_once": {"keyword": "sun"},
    "keywords:word_count_different_numbers": {
        "keyword": "sun",
        "frequency": 2,
        "relation": "at least",
    },
    "keywords:exclude_word_harder": {"keyword": "sun"},
    "first_word:first_word_sent": {"first_word": "go"},
    "first_word:first_word_answer": {"first_word": "go"},
    "last_word:last_word_sent": {"last_word": "go"},
    "last_word:last_word_answer": {"last_word": "go"},
    "copy:copying_simple": {"prompt_to_repeat": "Say hi."},
    "copy:copying_multiple": {"prompt_to_repeat": "Say hi.", "N": 2},
    "count:lowercase_counting": {"N": 2},
    "letters:letter_counting": {"N": 5, "relation": "at least"},
    "letters:letter_counting2": {"letter": "e", "let_frequency": 1, "let_relation": "at least"},
    "count:counting_composition": {"n_sent": 2, "n_words": 2},
    "count:count_increment_word": {"keyword1": "sun", "keyword2": "moon"},
    "keywords:keyword_specific_position": {"keyword": "sun", "n": 2, "m": 1},
}


def constraint(name: str, **values: Any) -> Constraint:
    return Constraint(instruction=name, values=values or EXAMPLE.get(name, {}))


def ask(answer: Any, response: str, **options: Any) -> Any:
    task = Task(id="t", prompt="?", answer=Secret(answer))
    return instruction_following(**options).score(task, Transcript(messages=(assistant(response),)))


@pytest.mark.parametrize("row", [r for r in ROWS if not r.get("doubtful")], ids=lambda r: r["id"])
def test_firm_case_is_judged_as_expected(row: dict[str, Any]) -> None:
    assert (
        follows(Constraint(instruction=row["constraint"], values=row["kwargs"]), row["response"])
        is row["expected"]
    )


def test_names_are_the_25_of_ifeval_and_29_more() -> None:
    assert (len(IFEVAL), len(IFEVALG), len(INSTRUCTIONS)) == (25, 29, 54)


@pytest.mark.parametrize(
    ("name", "values", "good", "bad"),
    [
        (
            "copy:repeat_phrase",
            {},
            "The quick red fox. The quick blue fox.",
            "The quick brown fox. The quick red fox. The quick blue fox.",
        ),
        ("copy:copy", {}, "Say  hi.\n", "SAY HI."),
        ("new:copy_span_idx", {}, "hi", "h"),
        (
            "detectable_format:sentence_hyphens",
            {},
            "A well-known fact.-It holds.",
            "One fact.- It holds.",
        ),
        ("keywords:no_adjacent_consecutive", {}, "apple cat apple", 'apple "banana"'),
        ("detectable_format:square_brackets", {}, "[one], [two].", "[one two]"),
        ("keywords:word_once", {}, "The sun. A sunny day.", "Sun and sun."),
        ("keywords:word_count_different_numbers", {}, "sun sun", "sun sunny"),
        ("keywords:exclude_word_harder", {}, "A sunny day.", "Sun."),
        ("paragraphs:paragraphs", {}, "One.\n***\nTwo.", "One.\n\nTwo."),
        ("paragraphs:paragraphs2", {}, "One.\n\nTwo.", "One.\n***\nTwo."),
        ("first_word:first_word_sent", {}, "Go home. Go now!", "Go home. Now go."),
        ("first_word:first_word_answer", {}, "“Go,” he said.", "He said go."),
        ("last_word:last_word_sent", {}, "Now go. I go!", "Now go. Wait."),
        ("last_word:last_word_answer", {}, "Wait. Then go!", "Go then."),
        ("detectable_format:bigram_wrapping", {}, "<<I am>> <<at home>>.", "<<I am>> <<home>>"),
        ("copy:copying_simple", {}, "Say hi.", "Say hi. Hi!"),
        ("copy:copying_multiple", {}, "Say hi.\n******\nSay hi.", "Say hi. Say hi."),
        ("punctuation:punctuation_dot", {}, "No dot here", "Wait…"),
        ("punctuation:punctuation_exclamation", {}, "Calm.", "Wow！"),
        ("count:lowercase_counting", {}, "THIS is FINE, don't SHOUT", "this is not fine"),
        ("letters:letter_counting", {}, "élève", "1234 abcd"),
        ("letters:letter_counting2", {}, "Eel", "cat"),
        (
            "count:counting_composition",
            {},
            "One two. Three four.\n***\nOne two. Three four.\n* * *\nOne two. Three four.",
            "One two. Three four.\n***\nOne two. Three four.",
        ),
        ("count:count_unique", {}, "One, two, three.", "One and one."),
        ("count:count_increment_word", {}, "sun moon moon", "sun moon moonlight"),
        ("keywords:palindrome", {}, "My racecar.", "I saw a dog."),
        ("keywords:keyword_specific_position", {}, "Rise now. Sun, come!", "Sun rise. Now."),
        ("keywords:start_end", {}, "Go and go", "Go and go."),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)
def test_ifevalg_instruction_accepts_the_good_and_refuses_the_bad(
    name: str, values: dict[str, Any], good: str, bad: str
) -> None:
    assert follows(constraint(name, **values), good)
    assert not follows(constraint(name, **values), bad)


@pytest.mark.parametrize(
    ("name", "values", "response", "published"),
    [
        ("keywords:existence", {"keywords": ["a.b"]}, "axb", True),
        ("keywords:frequency", {"keyword": "sun", "frequency": 2, "relation": "at least"},
         "Sunday sunset", True),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "2 * 3 * 4", True),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "T\n---\n* one", False),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "*\nlost", True),
        ("detectable_format:json_format", {}, "NaN", True),
        ("length_constraints:number_words", {"num_words": 5, "relation": "less than"},
         "it's well-known, isn't it", False),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "a ***b*** c", True),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "The U.S.P.S. is", True),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[] []", True),
        ("new:copy_span_idx", {"prompt_to_repeat": "Say hi.", "n_start": 4, "n_end": 6}, "hi",
         True),
        ("keywords:exclude_word_harder", {"keyword": "sun"}, "Sun.", True),
        ("count:count_unique", {}, "a, b, c", False),
        ("keywords:palindrome", {}, "a dog", True),
    ],
)  # fmt: skip
def test_compat_repeats_the_published_error(
    name: str, values: dict[str, Any], response: str, published: bool
) -> None:
    one = Constraint(instruction=name, values=values)
    assert follows(one, response, compat=Compat.IFEVAL) is published
    assert follows(one, response) is not published


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_a_blank_response_or_mere_thinking_follows_nothing(name: str) -> None:
    for response in ("", " \n\t ", "<think>Sun. Bye.</think>\n"):
        assert not follows(constraint(name), response)
        assert not follows(constraint(name), response, compat=Compat.IFEVAL)


@pytest.mark.parametrize("compat", [None, Compat.IFEVAL])
@settings(max_examples=60, deadline=None)
@given(
    response=st.one_of(
        st.text(max_size=80),
        st.lists(
            st.sampled_from(
                ["sun", "***", "******", "\n\n", "\n", " ", "[", "]", "<<", ">>", "*", "P.S.", "1.",
                 "Section 1", '"', "{", "}", "```", "the", ".", "Dr.", "-", "क", "漢", "\ud800"]
            ),
            max_size=25,
        ).map("".join),
    )
)  # fmt: skip
def test_no_text_makes_a_checker_raise(compat: Compat | None, response: str) -> None:
    for name in INSTRUCTIONS:
        assert follows(constraint(name), response, compat=compat) in (True, False)


@pytest.mark.parametrize("compat", [None, "ifeval"], ids=["ours", "published"])
@pytest.mark.parametrize("piece", ["*", "\n", " ", "[", "<<", '"', "!", "a. ", '\\"', "the fox "])
def test_cost_of_a_hostile_megabyte_is_small(piece: str, compat: str | None) -> None:
    response = "x" + piece * (200_000 // len(piece)) + "y"
    kind = Compat(compat) if compat else None
    slowest = 0.0
    for name in INSTRUCTIONS:
        started = time.process_time()
        follows(constraint(name), response, compat=kind)
        slowest = max(slowest, time.process_time() - started)
    assert slowest < 5.0  # a linear one takes 0.6 to 1.3 here, a quadratic one minutes


def test_an_unknown_instruction_is_the_tasks_fault() -> None:
    score = ask([{"constraint": "keywords:nope", "kwargs": {}}], "hi")
    assert score.value is None
    assert score.error is not None
    assert score.error.kind is ErrorKind.BAD_GOLD


@pytest.mark.parametrize(
    "values", [{}, {"keyword": 3}, {"keyword": "a"}, {"keyword": "a", "frequency": "2"},
               {"keyword": "a", "frequency": 1, "relation": "about"}],
)  # fmt: skip
def test_malformed_arguments_leave_the_response_unscored(values: dict[str, Any]) -> None:
    score = ask([{"constraint": "keywords:frequency", "kwargs": values}], "a")
    assert score.value is None
    assert score.error.kind is ErrorKind.BAD_GOLD


@pytest.mark.parametrize(
    "answer",
    [
        {"instruction_id_list": ["punctuation:no_comma", "copy:copy"],
         "kwargs": [{}, {"prompt_to_repeat": "Hi", "N": None}]},
        '[{"instruction_id": ["punctuation:no_comma", "copy:copy"], '
        '"kwargs": [null, {"prompt_to_repeat": "Hi"}]}]',
        "[{'instruction_id': ['punctuation:no_comma', 'copy:copy'], "
        "'kwargs': [None, {'prompt_to_repeat': 'Hi'}]}]",
    ],
    ids=["ifeval", "json", "python"],
)  # fmt: skip
def test_rows_of_public_data_sets_are_read(answer: Any) -> None:
    first, second = read_constraints(answer)
    assert (first.instruction, first.values) == ("punctuation:no_comma", {})
    assert (second.instruction, second.values) == ("copy:copy", {"prompt_to_repeat": "Hi"})


@pytest.mark.parametrize("answer", ["{", "nonsense(", {}, [], {"instruction_id": ["a"]}, 3])
def test_unreadable_rows_are_refused(answer: Any) -> None:
    with pytest.raises(BadTaskError):
        read_constraints(answer)


def test_fraction_pays_the_share_and_all_pays_only_the_whole() -> None:
    answer = {
        "instruction_id_list": ["punctuation:no_comma", "keywords:word_once"],
        "kwargs": [{}, {"keyword": "sun"}],
    }
    assert ask(answer, "No star.", fraction=True).value == 0.5
    assert ask(answer, "No star.").value == 0.0
    assert ask(answer, "The sun.").solved
    assert "keywords:word_once" in ask(answer, "No star.").evidence
