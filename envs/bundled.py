"""Where the environments that proofgym brings are, so that listing them imports none."""

from collections.abc import Mapping

BUNDLED: Mapping[str, tuple[str, str]] = {
    "code/functions-v0": (
        "proofgym.envs.library.code.functions:Functions",
        "Write a small Python function from its description and two examples.",
    ),
    "code/repair-v0": (
        "proofgym.envs.library.code.repair:Repair",
        "Mend a faulty function in a sandbox with a shell and files, over many turns.",
    ),
    "code/stdio-v0": (
        "proofgym.envs.library.code.functions:Stdio",
        "Write a Python program that reads standard input and prints its result.",
    ),
    "code/test-driven-v0": (
        "proofgym.envs.library.code.functions:TestDriven",
        "Write a function that hidden tests judge, after trying it out in a sandbox.",
    ),
    "games/cart-pole-v0": (
        "proofgym.envs.library.games.cart_pole:CartPole",
        "Balance a pole on a cart, told its state in words: 1 for every turn, at most 50.",
    ),
    "games/grid-world-v0": (
        "proofgym.envs.library.games.grid_world:GridWorld",
        "Walk through a maze to the goal: 1 at the end, and 0.01 off for every turn.",
    ),
    "games/guess-number-v0": (
        "proofgym.envs.library.games.guess_number:GuessNumber",
        'Find a hidden number from 1 to 31, told "higher" or "lower" after each guess.',
    ),
    "games/tic-tac-toe-v0": (
        "proofgym.envs.library.games.tic_tac_toe:TicTacToe",
        "Beat an opponent at tic-tac-toe that wins or prevents a win, and plans no further.",
    ),
    "games/wordle-v0": (
        "proofgym.envs.library.games.wordle:Wordle",
        "Find a hidden word of five letters in six turns, told which letters are right.",
    ),
    "language/instructions-v0": (
        "proofgym.envs.library.language.following:Instructions",
        "Write a short text that keeps one to three of IFEval's 25 kinds of instruction.",
    ),
    "language/records-v0": (
        "proofgym.envs.library.language.records:Records",
        "Turn a sentence or two into JSON of an asked shape, flat, nested or with sums.",
    ),
    "math/arithmetic-calculator-v0": (
        "proofgym.envs.library.math.arithmetic:ArithmeticTool",
        "Work out an expression with a calculator that takes one operation at a time.",
    ),
    "math/arithmetic-v0": (
        "proofgym.envs.library.math.arithmetic:Arithmetic",
        "Work out an expression of two to five whole numbers with +, - and *.",
    ),
    "math/countdown-v0": (
        "proofgym.envs.library.math.countdown:Countdown",
        "Combine three, four or six numbers, each used once, so that they make a target.",
    ),
    "math/equations-v0": (
        "proofgym.envs.library.math.equations:Equations",
        "Solve a linear equation, a quadratic one with two roots, or a system of two.",
    ),
    "math/sums-v0": (
        "proofgym.envs.library.math.sums:Sums",
        "Add several one-digit numbers, with or without writing the running sums down.",
    ),
    "math/word-problems-v0": (
        "proofgym.envs.library.math.word_problems:WordProblems",
        "Follow a story of two to five steps to the number that it ends with.",
    ),
    "tools/calculator-v0": (
        "proofgym.envs.library.tools.calculator:Calculator",
        "Sums to do in the head, and products to do with a calculator that costs a little.",
    ),
    "tools/multi-hop-v0": (
        "proofgym.envs.library.tools.search:MultiHop",
        "Answer questions that need two or three articles about an invented world in a row.",
    ),
    "tools/python-v0": (
        "proofgym.envs.library.tools.python_sums:PythonSums",
        "Run a given program with Python, and answer with a number that it makes.",
    ),
    "tools/search-v0": (
        "proofgym.envs.library.tools.search:Search",
        "Look a fact up in 130 articles about an invented world, which no model can know.",
    ),
    "tools/shop-v0": (
        "proofgym.envs.library.tools.shop:Shop",
        "Serve a customer of a shop: look up users and orders, and change them within a policy.",
    ),
}
"""Id -> (module:Class, one line)."""
