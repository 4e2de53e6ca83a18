"""A model with its tokenizer, from a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from proofgym.trainers.errors import CheckpointError

_SHOWN = 5
_NOT_ARCHITECTURE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def load_policy(folder: Path, device: torch.device) -> Policy:
    """Load what ``save_pretrained`` wrote, with float32 master weights.

    Raises:
        CheckpointError: tensors are missing or of another shape. transformers would fill them
            with random numbers.
    """
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model, found = loaded
    absent = sorted(map(str, (*found["missing_keys"], *found["mismatched_keys"])))
    if absent:
        raise CheckpointError(
            f"expected every tensor of {type(model).__name__} in {folder}, got none that fits for "
            f"{len(absent)} of them ({', '.join(absent[:_SHOWN])}). The weights belong to another "
            "architecture, or are damaged."
        )
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")  # transformers' other kernels leave the cap out
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return Policy(model=model.to(device), tokenizer=tokenizer)


def check_architecture(folder: Path, original: Path) -> None:
    """Check that a checkpoint is of the architecture that its run began with.

    Raises:
        CheckpointError: it is not; what differs is named.
    """
    old, new = _architecture(original), _architecture(folder)
    different = sorted(key for key in old | new if old.get(key) != new.get(key))
    if different:
        shown = "; ".join(
            f"{key}: {old.get(key)} at first, {new.get(key)} now" for key in different[:_SHOWN]
        )
        raise CheckpointError(
            f"expected {folder} to hold the architecture of {original}, got another one "
            f"({shown}). It is not this run's checkpoint: put the right one back, or remove it."
        )


def _architecture(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    return {key: value for key, value in config.items() if key not in _NOT_ARCHITECTURE}
