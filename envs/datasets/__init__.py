"""Data sets that people know, as environments."""

from proofgym.envs.datasets.declare import data_environment
from proofgym.envs.datasets.formats import FORMATS, Format

__all__ = ["FORMATS", "Format", "data_environment"]
