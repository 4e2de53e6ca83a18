"""Where the environments that proofgym brings are, so that listing them imports none."""

from collections.abc import Mapping

BUNDLED: Mapping[str, tuple[str, str]] = {
    "games/guess-number-v0": (
        "proofgym.envs.library.guess_number:GuessNumber",
        'Find a hidden number from 1 to 31, told "higher" or "lower" after each guess.',
    ),
    "math/sums-v0": (
        "proofgym.envs.library.sums:Sums",
        "Add several one-digit numbers, with or without writing the running sums down.",
    ),
    "tools/calculator-v0": (
        "proofgym.envs.library.calculator:Calculator",
        "Sums to do in the head, and products to do with a calculator that costs a little.",
    ),
    "tools/python-v0": (
        "proofgym.envs.library.python_sums:PythonSums",
        "Run a given program with Python, and answer with a number that it makes.",
    ),
}
"""Id -> (module:Class, one line)."""
