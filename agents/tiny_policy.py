"""Build a small causal LM of a real architecture, with its tokenizer and template, on the spot.

It is what the quickstart trains: no download, and every file is in the format that
``AutoModelForCausalLM`` and ``AutoTokenizer`` load.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

END = "<|end|>"
CALL = "<|call|>"
THINK, THOUGHT = "<|think|>", "<|thought|>"
PAD = "<|pad|>"
ROLES = ("<|system|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>")

CHAT_TEMPLATE = """\
{%- set ns = namespace(last_user=-1) %}
{%- for m in messages %}
{%- if m.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}{% endfor %}
{%- if tools %}{{ '<|tools|>' }}
{%- for t in tools %}{{ t.function.name }}(
{{- t.function.parameters.properties | join(',') }}){% endfor %}{{ '<|end|>' }}{% endif %}
{%- for m in messages %}{{ '<|' + m.role + '|>' }}
{%- if m.role == 'assistant' and m.reasoning_content and loop.index0 > ns.last_user %}
{{- '<|think|>' + m.reasoning_content + '<|thought|>' }}{% endif %}
{{- m.content }}
{%- if m.role == 'assistant' %}{% for c in m.tool_calls or [] %}
{{- '<|call|>' + c.function.name }}
{{- c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}
{%- endfor %}{% endif %}
{{- '<|end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
"""Thinking stays in the current tool loop and is dropped once the user speaks, as in Qwen3."""


class TinyPolicyConfig(BaseModel):
    """The size of a policy built on the spot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=4, ge=1)
    head_dim: int = Field(default=32, ge=2)
    mlp_size: int = Field(default=384, ge=8)
    max_context: int = Field(default=256, ge=16)
    tied_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_fit_together(self) -> "TinyPolicyConfig":
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise ValueError(
                "heads must be a multiple of kv_heads and head_dim even, got "
                f"{self.heads}, {self.kv_heads} and {self.head_dim}"
            )
        return self


def tiny_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Make a byte tokenizer: any text round-trips.

    Args:
        words: strings that become one token each, such as the names in a tool's schema, so that
            a call stays short.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = [PAD, END, CALL, THINK, THOUGHT, *ROLES]
    core.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    unique = sorted(set(words), key=lambda word: (-len(word), word))
    core.add_tokens([AddedToken(word, normalized=False, special=False) for word in unique])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_architecture(config: TinyPolicyConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    """Describe a Qwen3 of this size."""
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.mlp_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.max_context,
        tie_word_embeddings=config.tied_embeddings,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )


def tiny_model(
    config: TinyPolicyConfig, tokenizer: PreTrainedTokenizerFast, seed: int
) -> PreTrainedModel:
    """Make a Qwen3 with random weights.

    The initialisation is by fan-in (embeddings 0.05, matrices 1/sqrt(fan-in), output projections
    further divided by sqrt(2 L)): transformers' default of 0.02 learns slowly at this size.
    """
    qwen = tiny_architecture(config, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = Qwen3ForCausalLM(qwen)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        _initialise(model, config.layers)
    return model


def build_tiny_policy(
    folder: Path, config: TinyPolicyConfig, *, words: Sequence[str], seed: int
) -> None:
    """Write a policy with random weights to a folder, for ``from_pretrained`` to load."""
    tokenizer = tiny_tokenizer(words)
    model = tiny_model(config, tokenizer, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _initialise(model: nn.Module, layers: int) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        if "embed_tokens" in name:
            std = 0.05
        else:
            std = 1.0 / math.sqrt(parameter.shape[1])
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * layers)
        nn.init.normal_(parameter, std=std)
