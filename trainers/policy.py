"""A model with its tokenizer, from a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def load_policy(folder: Path, device: torch.device) -> Policy:
    """Load what ``save_pretrained`` wrote, with float32 master weights."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return Policy(model=model.to(device), tokenizer=tokenizer)
