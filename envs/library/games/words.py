"""Common English words of five letters, for guessing."""

from pathlib import Path
from typing import Final

WORDS: Final = tuple(Path(__file__).with_name("words.txt").read_text("ascii").split())
