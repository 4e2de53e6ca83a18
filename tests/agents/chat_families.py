"""Published chat templates, and small tokenizers with their families' special tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from proofgym.agents import RenderConfig, Renderer

TEMPLATES = Path(__file__).parent / "templates"
_SPLIT = (  # Qwen's and GPT-4's: newlines merge with one another, which makes boundaries matter
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One published template as it is used.

    Args:
        template: the file's name.
        family: what must be recognised.
        special: special tokens; the first ends a turn.
        added: tokens that are no special tokens, as Qwen has them.
        options: for the template.
        tools, system, parallel: what the template takes.
        calls: whether replies can have calls.
        alternates: after an assistant message without calls it takes one user message only.
        says_nothing: whether it takes an assistant message without content.
    """

    template: str
    family: str
    special: tuple[str, ...]
    added: tuple[str, ...] = ()
    bos: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: bool = True
    calls: bool = True
    system: bool = True
    parallel: bool = True
    alternates: bool = False
    says_nothing: bool = True

    def renderer(self) -> Renderer:
        """Make a renderer, the template coming from the tokenizer."""
        return Renderer(tokenizer_of(self), RenderConfig(options=dict(self.options)))


_QWEN = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")
_QWEN_ADDED = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
_LLAMA = (
    "<|eot_id|>", "<|eom_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>",
    "<|begin_of_text|>", "<|end_of_text|>",
)  # fmt: skip
_MISTRAL = (
    "</s>", "<s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]",
)  # fmt: skip
_DEEPSEEK = (
    "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>",
    "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>",
)  # fmt: skip
_GEMMA4 = (
    "<turn|>", "<|turn>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>",
    "<|tool>", "<tool|>", "<|channel>", "<channel|>", '<|"|>', "<|think|>", "<bos>", "<eos>",
)  # fmt: skip
_HARMONY = (
    "<|return|>", "<|call|>", "<|end|>", "<|start|>", "<|message|>", "<|channel|>",
    "<|constrain|>", "<|endoftext|>",
)  # fmt: skip
_BOS = "<｜begin▁of▁sentence｜>"
_R1 = ("<think>", "</think>")

CHATS: dict[str, Chat] = {
    "qwen2.5": Chat(
        template="qwen2.5", family="hermes", special=_QWEN, added=_QWEN_ADDED[2:4]
    ),
    "qwen3": Chat(template="qwen3", family="hermes", special=_QWEN, added=_QWEN_ADDED),
    "qwen3, no thinking": Chat(
        template="qwen3", family="hermes", special=_QWEN, added=_QWEN_ADDED,
        options={"enable_thinking": False},
    ),
    "qwen3 instruct 2507": Chat(
        template="qwen3-instruct-2507", family="hermes", special=_QWEN, added=_QWEN_ADDED
    ),
    "qwen3, trl's for training": Chat(
        template="qwen3-training", family="hermes", special=_QWEN, added=_QWEN_ADDED
    ),
    "qwen3 coder": Chat(
        template="qwen3-coder", family="qwen3-coder", special=_QWEN, added=_QWEN_ADDED
    ),
    "llama 3.1": Chat(
        template="llama-3.1", family="llama3", special=_LLAMA, bos="<|begin_of_text|>",
        parallel=False,
    ),
    "llama 3.2": Chat(
        template="llama-3.2", family="llama3", special=_LLAMA, bos="<|begin_of_text|>",
        parallel=False,
    ),
    "mistral nemo": Chat(
        template="mistral-nemo", family="mistral", special=_MISTRAL, bos="<s>", alternates=True
    ),
    "ministral 3": Chat(
        template="ministral-3", family="mistral", alternates=True, says_nothing=False, bos="<s>",
        special=(*_MISTRAL, "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[SYSTEM_PROMPT]",
                 "[/SYSTEM_PROMPT]"),
    ),
    "gemma 2": Chat(
        template="gemma-2", family="text", alternates=True, tools=False, calls=False,
        system=False, bos="<bos>",
        special=("<end_of_turn>", "<start_of_turn>", "<bos>", "<eos>"),
    ),
    "gemma 4": Chat(template="gemma-4", family="gemma4", special=_GEMMA4, bos="<bos>"),
    "gemma 4, thinking": Chat(
        template="gemma-4", family="gemma4", special=_GEMMA4, bos="<bos>",
        options={"enable_thinking": True},
    ),
    "gpt-oss": Chat(template="gpt-oss", family="harmony", special=_HARMONY, parallel=False),
    "deepseek v3": Chat(
        template="deepseek-v3", family="deepseek", special=_DEEPSEEK, added=_R1, bos=_BOS,
        tools=False,
    ),
    "deepseek r1 distill": Chat(
        template="deepseek-r1-distill", family="deepseek", special=_DEEPSEEK, added=_R1, bos=_BOS,
        tools=False,
    ),
}  # fmt: skip


def tokenizer_of(chat: Chat) -> PreTrainedTokenizerFast:
    """Make a small byte-level BPE tokenizer with a family's special tokens."""
    core = Tokenizer.from_str(_trained())
    core.add_special_tokens(
        [AddedToken(one, normalized=False, special=True) for one in chat.special]
    )
    core.add_tokens([AddedToken(one, normalized=False, special=False) for one in chat.added])
    names = {"bos_token": chat.bos} if chat.bos else {}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=chat.special[0],
        clean_up_tokenization_spaces=False,
        **names,
    )
    tokenizer.chat_template = (TEMPLATES / f"{chat.template}.jinja").read_text()
    return tokenizer


@cache
def _trained() -> str:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    text = (TEMPLATES / "qwen3-coder.jinja").read_text()
    lines = [text, "the answer is 42.\n\n\n\nHello there\n\n", " \n\n assistant user system"]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(lines * 3, trainer)
    return str(core.to_str())
