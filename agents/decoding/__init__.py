"""Decoding strategies: more computation for one message, in evaluation and elsewhere."""

from proofgym.agents.decoding.budget import BudgetForcing
from proofgym.agents.decoding.choosing import (
    Candidates,
    Chooser,
    Choosing,
    most_common,
    most_likely,
)
from proofgym.agents.decoding.config import DecodeConfig, decoded

__all__ = [
    "BudgetForcing",
    "Candidates",
    "Chooser",
    "Choosing",
    "DecodeConfig",
    "decoded",
    "most_common",
    "most_likely",
]
