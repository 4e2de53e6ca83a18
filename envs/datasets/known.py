"""Known data sets under their own ids; importing this module declares them and reads nothing."""

from proofgym.envs.datasets.declare import Hub, data_environment

_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_KNOWN: tuple[tuple[str, str, Hub | None, str], ...] = (
    (
        "gsm8k/main-v0",
        "gsm8k",
        Hub(id="openai/gsm8k", configs=("main",), train="train", heldout="test"),
        "GSM8K: word problems of grade school, with a number at the end.",
    ),
    (
        "hendrycks-math/all-v0",
        "math",
        Hub(id="EleutherAI/hendrycks_math", configs=_SUBJECTS, train="train", heldout="test"),
        "MATH: competition problems of seven subjects.",
    ),
    (
        "math-500/test-v0",
        "math",
        Hub(id="HuggingFaceH4/MATH-500", heldout="test"),
        "MATH-500: a sample of MATH's test problems, for evaluation.",
    ),
    (
        "aime/2024-v0",
        "aime",
        Hub(id="HuggingFaceH4/aime_2024", heldout="train"),
        "AIME 2024: thirty problems, for evaluation.",
    ),
    (
        "aime/2025-v0",
        "aime",
        Hub(id="math-ai/aime25", heldout="test"),
        "AIME 2025: thirty problems, for evaluation.",
    ),
    (
        "deepscaler/preview-v0",
        "deepscaler",
        Hub(id="agentica-org/DeepScaleR-Preview-Dataset", train="train"),
        "DeepScaleR: 40,000 competition problems, for training.",
    ),
    (
        "humaneval/test-v0",
        "humaneval",
        Hub(id="openai/openai_humaneval", heldout="test"),
        "HumanEval: complete a Python function, for evaluation.",
    ),
    (
        "mbpp/full-v0",
        "mbpp",
        Hub(id="google-research-datasets/mbpp", configs=("full",), train="train", heldout="test"),
        "MBPP: short Python functions; one of three tests is shown.",
    ),
    (
        "livecodebench/lite-v0",
        "livecodebench",
        None,
        "LiveCodeBench: contest problems by date, for evaluation, from a file of its rows.",
    ),
    (
        "apps/all-v0",
        "apps",
        None,
        "APPS (and TACO, whose schema is the same): problems with tests, from files of its rows.",
    ),
    (
        "ifeval/all-v0",
        "ifeval",
        Hub(id="google/IFEval", heldout="train"),
        "IFEval: instructions that a program can check, for evaluation.",
    ),
    (
        "bfcl/single-turn-v0",
        "bfcl",
        None,
        "BFCL: which calls does a request need? From a file of its rows with their answers.",
    ),
)

for _id, _format, _hub, _about in _KNOWN:
    _class = data_environment(_id, _format, hub=_hub, about=_about, module=__name__)
    globals()[_id.partition("-v")[0].replace("/", "_").replace("-", "_")] = _class

SUITES = tuple(dict.fromkeys(_id.partition("/")[0] for _id, *_ in _KNOWN))
"""The first part of each id."""
