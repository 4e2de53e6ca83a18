"""Random conversations with awkward content, and an independent check of the tokens they become."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proofgym.agents import Conversation, Renderer, RenderError
from proofgym.verifiers import Message, Role, ToolCall, system, user
from tests.agents.chat_families import Chat

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Do {name}.",
            "parameters": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "Some text."},
                    "count": {"type": "integer", "description": "A number."},
                    "flags": {"type": "array", "items": {"type": "boolean"}, "description": "x"},
                },
                "required": ["text"],
            },
        },
    }
    for name in ("search", "python")
]
AWKWARD = (
    "", " ", "\n", "\n\n", "two\n\nlines\n", "  padded  ", "42", "é 漢字 🤖", "\u200b", "{", "[]",
    '{"name": "x"}', '{"name": "search", "parameters": {}}', "```json\n{}\n```", "<think>",
    "</think>", "<think>a</think>b", "<tool_call>", "</tool_call>",
    "<tool_response>x</tool_response>",
    "<function=search>", "</parameter>", "[TOOL_CALLS]", "to=functions.search", 'say "hi" \\ there',
    "\ud800", "thought\n", "call:search{}", "Error: ZeroDivisionError",
)  # fmt: skip


@dataclass
class Checked:
    """What was found in one conversation."""

    turns: int = 0
    forks: int = 0
    exact: int = 0  # extensions compared with the whole rendering token for token
    refused: bool = False


@dataclass
class _Row:
    """A row taken apart: template text, sampled text, template text, ..."""

    glue: list[str]
    said: list[tuple[Message, str]] = field(default_factory=list)
    canonical: bool = True


class Talk:
    """Play one random conversation and compare every prompt with the whole rendering."""

    def __init__(self, chat: Chat, renderer: Renderer, seed: int) -> None:
        self.chat = chat
        self.renderer = renderer
        self.rng = random.Random(seed)
        self.tools = TOOLS if chat.tools and self.rng.random() < 0.8 else []
        self._calls = bool(self.tools) or (not chat.tools and chat.calls)
        self.found = Checked()

    def play(self, turns: int) -> Checked:
        """Play; a template may refuse what the policy said, with a RenderError."""
        conversation = self.renderer.open(self._opening(), self.tools)
        row = _Row([self._whole(conversation)])
        assert conversation.prompt.ids == self.renderer.encode(row.glue[0])
        for _ in range(turns):
            try:
                row = self._turn(conversation, row)
            except RenderError:
                self.found.refused = True
                break
        return self.found

    def _turn(self, conversation: Conversation, row: _Row) -> _Row:
        renderer, before = self.renderer, conversation.prompt
        ids, canonical, stop = self._sample(conversation)
        message = conversation.said(ids)
        conversation.heard(self._replies(message))
        whole, prompt = self._whole(conversation), conversation.prompt
        self.found.turns += 1
        if prompt.row != before.row:
            assert prompt.row == before.row + 1
            assert prompt.ids == prompt.new_ids.tolist() == renderer.encode(whole)
            self.found.forks += 1
            return _Row([whole])
        assert prompt.ids == [*before.ids, *ids, *prompt.new_ids], "the row only grows"
        spoken = renderer.decode(ids[:-1] if stop else ids)
        row.said.append((message, spoken))
        row.glue.append((stop or "") + renderer.decode(prompt.new_ids.tolist()))
        row.canonical &= canonical
        self._compare(row, whole, prompt.ids)
        return row

    def _compare(self, row: _Row, whole: str, ids: Sequence[int]) -> None:
        """Find the row's template text in the whole rendering, and the messages between."""
        if row.canonical and self.renderer.decode(ids) == whole:
            assert list(ids) == self.renderer.encode(whole)
            self.found.exact += 1
            return
        assert whole.startswith(row.glue[0])
        assert whole.endswith(row.glue[-1])
        at = len(row.glue[0])
        for (message, spoken), glue in zip(row.said, row.glue[1:], strict=True):
            end = whole.find(glue, at)
            assert end >= 0, (glue, whole[at:])
            rendered = whole[at:end]
            thinking = self.renderer.thinking_at(whole[:at])
            again = self.renderer.parser(rendered, turn=0, schemas=self.tools, thinking=thinking)
            assert rendered == spoken or meaning(self.renderer, again) == meaning(
                self.renderer, message
            ), "a reply was rewritten, and no fork was reported"
            at = end + len(glue)
        assert at == len(whole), "the row has all of the rendering"

    def _whole(self, conversation: Conversation) -> str:
        text = self.renderer.text(conversation.messages, self.tools, generate=True)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _opening(self) -> list[Message]:
        asks = [user(self._text())]
        return [system(self._text()), *asks] if self.chat.system and self._coin(0.4) else asks

    def _replies(self, message: Message) -> list[Message]:
        if message.tool_calls:
            return [
                Message(role=Role.TOOL, content=self._text(), tool_call_id=call.id, name=call.name)
                for call in message.tool_calls
            ]
        if self.chat.alternates or self._coin(0.8):
            return [user(self._text())]
        return [user(self._text()), user(self._text())]

    def _sample(self, conversation: Conversation) -> tuple[list[int], bool, str]:
        """Draw a reply: as the template would write it, or any text; whole, or cut."""
        renderer = self.renderer
        message = self._message()
        prompt = renderer.text(conversation.messages, self.tools, generate=True)
        try:
            after = renderer.text((*conversation.messages, message), self.tools, generate=False)
        except RenderError:
            after = ""
        found = renderer.stop_pattern.search(after, len(prompt))
        if not after.startswith(prompt) or found is None or self._coin(0.25):
            ids = [t for t in renderer.encode(self._soup(after)) if t not in renderer.stop_ids]
            stop = self.rng.choice([*renderer.stops, renderer.stop_text, ""])
            return [*ids, *([renderer.stops[stop]] if stop else [])], False, stop
        spoken = after[len(prompt) : found.start()]
        ids = renderer.encode(spoken)
        if ids and self._coin(0.1):  # cut at a length limit
            return ids[: self.rng.randrange(1, len(ids) + 1)], False, ""
        stable = renderer.encode(prompt + spoken) == [*renderer.encode(prompt), *ids]
        return [*ids, renderer.stops[found[0]]], stable, found[0]

    def _message(self) -> Message:
        calls = []
        if self._calls and self._coin(0.6):
            count = self.rng.choice([1, 1, 2, 3]) if self.chat.parallel else 1
            calls = [self._tool_call(number) for number in range(count)]
        content = "" if calls and self._coin(0.5) else self._text()
        if not content and not calls and not self.chat.says_nothing:
            content = "x"
        reasoning = self._text() if self._coin(0.4) else None
        return Message(
            role=Role.ASSISTANT, content=content, tool_calls=tuple(calls), reasoning=reasoning
        )

    def _tool_call(self, number: int) -> ToolCall:
        arguments: dict[str, Any] = {"text": self._text()}
        if self._coin(0.5):
            arguments["count"] = self.rng.randrange(-5, 10**6)
        if self._coin(0.3):
            arguments["flags"] = [self._coin(0.5) for _ in range(self.rng.randrange(3))]
        text = json.dumps(arguments, ensure_ascii=False)
        return ToolCall(
            id=f"c{number:08d}", name=self.rng.choice(["search", "python"]), arguments=text
        )

    def _text(self) -> str:
        pieces = [
            *AWKWARD,
            *self.chat.special,
            *self.chat.added,
            "Hello there",
            "the answer is 42.",
        ]
        return "".join(self.rng.choices(pieces, k=self.rng.choice([0, 1, 1, 2, 3])))

    def _soup(self, rendered: str) -> str:
        """Mix marks, text and pieces of a real reply."""
        marks = self.renderer.parser.style.marks
        cut = rendered[-self.rng.randrange(1, 80) :]
        pieces = [self._text(), cut, *(self.rng.choice(marks) for _ in range(2) if marks)]
        self.rng.shuffle(pieces)
        return "".join(pieces)

    def _coin(self, chance: float) -> bool:
        return self.rng.random() < chance


def meaning(renderer: Renderer, message: Message) -> tuple[object, ...]:
    """What a message says, whatever its padding and the layout of its JSON."""
    plain = renderer.template.unmarked(message)
    calls = [
        (call.name, call.arguments.strip() if call.error else json.loads(call.arguments))
        for call in plain.tool_calls
    ]
    return plain.content.strip(), (plain.reasoning or "").strip(), calls
