"""Requests for each of IFEval's 25 kinds of instruction, and a way to write what they ask for.

A :class:`Draft` is a text in parts. Each maker adds its part, or sets how the whole is written, so
that several instructions can be kept at once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOPICS = ("a harbour", "a library", "a market", "a railway", "a garden", "a museum", "a bakery")
NOUNS = [
    "lantern",
    "anchor",
    "ladder",
    "basket",
    "mirror",
    "whistle",
    "carpet",
    "feather",
    "compass",
    "pillow",
    "bucket",
]
RARE = ["quilt", "zebra", "jigsaw", "vortex", "onyx", "quartz"]
GERMAN = (
    "Der Hafen ist am Morgen sehr ruhig und die Leute gehen langsam zu ihrer Arbeit. Auf dem Tisch "
    "liegt das Wort {}, und daneben steht auch noch {}. Das ist nicht viel, aber es ist genug."
)
SENTENCE = "People here like the {} and keep the {} near the door"


@dataclass(slots=True, kw_only=True)
class Draft:
    """A response while it is written.

    Args:
        nouns: the two words that it must have.
        sentences: its body.
        joint: what stands between the sentences.
        head, tail: what comes first and last.
        whole: rewrites everything at the end.
    """

    nouns: tuple[str, str]
    sentences: list[str] = field(default_factory=list)
    joint: str = " "
    head: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    whole: Callable[[str], str] = str

    def text(self) -> str:
        """Write it out."""
        body = self.joint.join(self.sentences)
        return self.whole("\n".join([*self.head, body, *self.tail]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One instruction: what is asked for in words, its arguments, and how a draft keeps it."""

    words: str
    kwargs: Mapping[str, Any]
    keep: Callable[[Draft], None]


Maker = Callable[[np.random.Generator, str], Asked]


def _set(**changes: Any) -> Callable[[Draft], None]:
    def keep(draft: Draft) -> None:
        for name, value in changes.items():
            setattr(draft, name, value)

    return keep


def _tail(text: str) -> Callable[[Draft], None]:
    return lambda draft: draft.tail.append(text)


def _head(text: str) -> Callable[[Draft], None]:
    return lambda draft: draft.head.insert(0, text)


def _existence(rng: np.random.Generator, prompt: str) -> Asked:
    word = str(rng.choice(RARE))
    words = f"Use the word {word}."
    return Asked(words=words, kwargs={"keywords": [word]}, keep=_tail(f"We saw one {word} there."))


def _frequency(rng: np.random.Generator, prompt: str) -> Asked:
    word, count = str(rng.choice(RARE)), int(rng.integers(3, 6))
    return Asked(
        words=f"Use the word {word} at least {count} times.",
        kwargs={"keyword": word, "frequency": count, "relation": "at least"},
        keep=_tail(" ".join([f"One {word}."] * count)),
    )


def _forbidden(rng: np.random.Generator, prompt: str) -> Asked:
    words = [str(one) for one in rng.choice(("nice", "very", "thing", "good", "maybe"), 2, False)]
    return Asked(
        words=f"Do not use the words {words[0]} and {words[1]}.",
        kwargs={"forbidden_words": words},
        keep=_set(),
    )


def _letter(rng: np.random.Generator, prompt: str) -> Asked:
    letter, count = str(rng.choice(list("qxz"))), int(rng.integers(4, 8))
    return Asked(
        words=f"The letter {letter} must appear at least {count} times.",
        kwargs={"letter": letter, "let_frequency": count, "let_relation": "at least"},
        keep=_tail(f"They say {letter * count} at the end of the day."),
    )


def _language(rng: np.random.Generator, prompt: str) -> Asked:
    def keep(draft: Draft) -> None:
        draft.sentences = [GERMAN.format(*draft.nouns)]

    return Asked(words="Answer in German only.", kwargs={"language": "de"}, keep=keep)


def _sentences(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(5, 9))

    def keep(draft: Draft) -> None:
        draft.sentences = [f"{SENTENCE.format(*draft.nouns)}."] * count

    return Asked(
        words=f"Write at least {count} sentences.",
        kwargs={"num_sentences": count, "relation": "at least"},
        keep=keep,
    )


def _paragraphs(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(3, 6))

    def keep(draft: Draft) -> None:
        draft.sentences = [f"{SENTENCE.format(*draft.nouns)}."] * count
        draft.joint = "\n\n***\n\n"

    return Asked(
        words=f"Write exactly {count} paragraphs, with *** between them.",
        kwargs={"num_paragraphs": count},
        keep=keep,
    )


def _word_count(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(60, 120))

    def keep(draft: Draft) -> None:
        draft.sentences += [f"{SENTENCE.format(*draft.nouns)}."] * (count // 10 + 1)

    return Asked(
        words=f"Use at least {count} words.",
        kwargs={"num_words": count, "relation": "at least"},
        keep=keep,
    )


def _nth_paragraph(rng: np.random.Generator, prompt: str) -> Asked:
    count, word = int(rng.integers(3, 5)), str(rng.choice(("yesterday", "however", "meanwhile")))
    nth = int(rng.integers(1, count + 1))

    def keep(draft: Draft) -> None:
        draft.sentences = [f"{SENTENCE.format(*draft.nouns)}."] * count
        draft.sentences[nth - 1] = f"{word.capitalize()} they did, too."
        draft.joint = "\n\n"

    return Asked(
        words=f"Write {count} paragraphs with a blank line between them. Paragraph {nth} must "
        f"begin with the word {word}.",
        kwargs={"num_paragraphs": count, "nth_paragraph": nth, "first_word": word},
        keep=keep,
    )


def _placeholders(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(2, 5))
    return Asked(
        words=f"Include at least {count} placeholders in square brackets, such as [name].",
        kwargs={"num_placeholders": count},
        keep=_tail(" ".join(["Ask [name]."] * count)),
    )


def _postscript(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="At the end add a postscript that starts with P.S.",
        kwargs={"postscript_marker": "P.S."},
        keep=_tail("P.S. We will come back."),
    )


def _bullets(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(3, 7))
    lines = "\n".join(f"* point {chr(97 + place)}" for place in range(count))
    return Asked(
        words=f"Include exactly {count} bullet points, each on a line such as * this.",
        kwargs={"num_bullets": count},
        keep=_tail(lines),
    )


def _constrained(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="Answer with one of these and nothing else: 'My answer is yes.', 'My answer is no.', "
        "'My answer is maybe.'",
        kwargs={},
        keep=_set(whole=lambda _: "My answer is maybe."),
    )


def _highlights(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(2, 5))
    return Asked(
        words=f"Highlight at least {count} parts with asterisks, *like this*.",
        kwargs={"num_highlights": count},
        keep=_tail("\n".join(["It is *bright* here."] * count)),
    )


def _numbered_sections(rng: np.random.Generator, prompt: str) -> Asked:
    count, mark = int(rng.integers(2, 5)), str(rng.choice(("SECTION", "PART")))
    text = "\n".join(f"{mark} {place}\nSome words." for place in range(1, count + 1))
    return Asked(
        words=f"Have {count} sections, each beginning with a line {mark} and its number.",
        kwargs={"section_spliter": mark, "num_sections": count},
        keep=_tail(text),
    )


def _json(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="The whole answer must be JSON.",
        kwargs={},
        keep=_set(whole=lambda text: json.dumps({"text": text})),
    )


def _title(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="Give it a title in double angle brackets, such as <<joy>>.",
        kwargs={},
        keep=_head("<<A quiet place>>"),
    )


def _two_responses(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="Give two different responses, with six asterisks between them: ******",
        kwargs={},
        keep=_set(whole=lambda text: f"{text}\n******\nOr something else."),
    )


def _repeat(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="First repeat the first sentence of this request word for word, then answer it.",
        kwargs={"prompt_to_repeat": prompt},
        keep=_head(prompt),
    )


def _end(rng: np.random.Generator, prompt: str) -> Asked:
    phrase = str(rng.choice(("Is there anything else?", "That is all there is to say.")))
    return Asked(
        words=f"Finish with exactly this phrase: {phrase} Say no words after it.",
        kwargs={"end_phrase": phrase},
        keep=_tail(phrase),
    )


def _capitals(rng: np.random.Generator, prompt: str) -> Asked:
    count = int(rng.integers(4, 8))
    return Asked(
        words=f"Write at least {count} words in capital letters.",
        kwargs={"capital_frequency": count, "capital_relation": "at least"},
        keep=_tail(" ".join(["LOOK"] * count)),
    )


def _upper(rng: np.random.Generator, prompt: str) -> Asked:
    words = "Answer in English, in capital letters only."
    return Asked(words=words, kwargs={}, keep=_set(whole=str.upper))


def _lower(rng: np.random.Generator, prompt: str) -> Asked:
    words = "Answer in English, in small letters only, without a capital."
    return Asked(words=words, kwargs={}, keep=_set(whole=str.lower))


def _no_comma(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(words="Use no commas, at all.", kwargs={}, keep=_set())


def _quotation(rng: np.random.Generator, prompt: str) -> Asked:
    return Asked(
        words="Put the whole answer in double quotation marks.",
        kwargs={},
        keep=_set(whole=lambda text: f'"{text}"'),
    )


MAKERS: Mapping[str, Maker] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letter,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _word_count,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _numbered_sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": _upper,
    "change_case:english_lowercase": _lower,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _quotation,
}
"""One maker for each of IFEval's instructions."""
