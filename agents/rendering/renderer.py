"""What all conversations with one tokenizer share."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proofgym.agents.errors import RenderError
from proofgym.agents.rendering.config import RenderConfig
from proofgym.agents.rendering.conversation import Conversation, Opened
from proofgym.agents.rendering.family import family_of
from proofgym.agents.rendering.template import ChatTemplate
from proofgym.agents.tool_parsing import ReplyParser
from proofgym.agents.tool_parsing.reply_parser import Segment
from proofgym.envs import Source
from proofgym.verifiers import Message

if TYPE_CHECKING:  # a base install plays scripted episodes without transformers
    from transformers import PreTrainedTokenizerFast


class Renderer:
    """Render conversations for one tokenizer; safe to share between episodes.

    Args:
        tokenizer: with a chat template.
        config: the family, the template and its options, where the defaults do not fit.

    Raises:
        RenderError: there is no chat template, its family is unknown, or what ends a turn is no
            token of its own.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerFast", config: RenderConfig | None = None
    ) -> None:
        config = config or RenderConfig()
        source = _template_source(tokenizer, config)
        family = family_of(source, config.family)
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder  # all_special_ids lacks the marks of roles
        self._special = frozenset(token for token, what in added.items() if what.special)
        texts = {what.content: token for token, what in added.items()}
        eos = str(tokenizer.eos_token)
        special = {added[token].content for token in self._special} | {eos}
        special |= set(family.stops) & texts.keys()
        self.template = ChatTemplate(tokenizer, source, family, config.options, special)
        self.parser = ReplyParser(family.style)
        marks = family.style.marks
        self._mark_ids = {texts[mark]: mark for mark in marks if mark in texts}
        self._text_marks = tuple(mark for mark in marks if mark not in texts)
        self.stops = self._find_stops(special, texts, [eos, *family.stops])
        self.stop_texts = {token: mark for mark, token in self.stops.items()}
        self.stop_text = next(iter(self.stops))
        self.stop_pattern = re.compile("|".join(map(re.escape, self.stops)))
        self._open_cached = lru_cache(maxsize=4096)(self._open)
        self._takes_tools: bool | None = None

    @property
    def stop_id(self) -> int:
        """The token with which the template ends an assistant's turn."""
        return self.stops[self.stop_text]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn."""
        return tuple(self.stops.values())

    def open(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Conversation:
        """Begin a conversation with the prompt that an environment opened with.

        Raises:
            RenderError: the template refuses the messages, or shows no tools to the model.
        """
        opening = self._open_cached(tuple(messages), json.dumps(tools) if tools else "")
        return Conversation(self, messages, opening)

    def text(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], *, generate: bool
    ) -> str:
        """Render messages with the chat template."""
        wired = [self.template.wire(message) for message in messages]
        return self.template.text(wired, tools, generate=generate)

    def parse(self, ids: Sequence[int], *, turn: int, tools: Sequence[Mapping[str, Any]] = (),
              thinking: bool = False) -> Message:  # fmt: skip
        """Read a reply's tokens, the stop token removed.

        Marks that are tokens are found by id: the same characters spelled out are text.
        """
        return self.parser.segments(
            self._segments(ids), self._text_marks, turn=turn, schemas=tools, thinking=thinking
        )

    def thinking_at(self, prompt: str) -> bool:
        """Whether a prompt ends within the thinking, opened by the template."""
        opening = self.parser.style.think_open
        return bool(opening) and prompt.rstrip().endswith(opening)

    def mark_id(self, mark: str) -> int | None:
        """Return the token that a mark of the family's style is; None where it is text."""
        return next((token for token, text in self._mark_ids.items() if text == mark), None)

    def encode(self, text: str) -> list[int]:
        """Tokenise text in which special tokens stand as their text.

        A lone surrogate, which a policy can write as a JSON escape and a tool repeat, becomes
        U+FFFD: no tokenizer takes it.
        """
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        # the core of the tokenizer: the wrapper around it costs three times as much
        encoding = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        return list(encoding.ids)

    def encode_after(self, stop: str, text: str) -> list[int]:
        """Tokenise text that stands after a stop token, exactly as a whole rendering would."""
        first, *rest = self.encode(stop + text)
        assert first == self.stops[stop]
        return rest

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included."""
        if self.tokenizer.clean_up_tokenization_spaces:
            return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
        # without the wrapper, as in encode; it would add nothing
        return str(self.tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=False))

    def sources(self, ids: Sequence[int], content: Source) -> NDArray[np.uint8]:
        """Mark special tokens as template and all others as ``content``."""
        marks = [Source.TEMPLATE if token in self._special else content for token in ids]
        return np.array(marks, dtype=np.uint8)

    def _open(self, messages: tuple[Message, ...], tools_json: str) -> Opened:
        tools = json.loads(tools_json) if tools_json else []
        if tools and self._takes_tools is None:
            self._takes_tools = self.template.takes_tools()
        if tools and not self._takes_tools:
            raise RenderError(
                f"expected a chat template that shows the environment's {len(tools)} tools to the "
                "model, and this one does not mention them. Set rendering.chat_template to one "
                "that does."
            )
        wired = tuple(self.template.wire(message) for message in messages)
        rendering = self.template.grow(wired, tools)
        ids = tuple(self.encode(rendering.text))
        return Opened(wired=wired, tools=tools, rendering=rendering, ids=ids)

    def _segments(self, ids: Sequence[int]) -> Iterator[Segment]:
        begin = 0
        for place, token in enumerate(ids):
            if token in self._mark_ids:
                if place > begin:
                    yield Segment(text=self.decode(ids[begin:place]))
                yield Segment(text=self._mark_ids[token], is_mark=True)
                begin = place + 1
        if len(ids) > begin:
            yield Segment(text=self.decode(ids[begin:]))

    def _find_stops(
        self, special: set[str], tokens: Mapping[str, int], also: Sequence[str]
    ) -> dict[str, int]:
        """Find what ends a turn: the last special token of a rendering, and what is known."""
        pattern = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))
        ends = [pattern.findall(text)[-1:] for text in self.template.ends()]
        found = dict.fromkeys([mark for last in ends for mark in last] + list(also))
        stops = {mark: tokens[mark] for mark in found if mark in tokens}
        for mark, token in stops.items():
            if self.encode(f"{mark}x")[0] != token:
                raise RenderError(
                    f"expected the end of a turn, {mark!r}, to be one token wherever it stands, "
                    "and the tokenizer splits it. Add it as a special token."
                )
        return stops


def _template_source(tokenizer: "PreTrainedTokenizerFast", config: RenderConfig) -> str:
    if config.chat_template is not None:
        try:
            return config.chat_template.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise RenderError(
                f"rendering.chat_template must be a readable Jinja file: {error}."
            ) from error
    if not tokenizer.chat_template or tokenizer.eos_token_id is None:
        raise RenderError(
            "the renderer needs a tokenizer with a chat template and an eos_token that ends a "
            "turn, got one without. Set rendering.chat_template, or use a chat model."
        )
    return str(tokenizer.get_chat_template(tools=[]))
