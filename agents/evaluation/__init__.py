"""Measure policies: attempts, rates with intervals, k attempts, paired comparison."""

from proofgym.agents.evaluation.at_k import maj_at_k, pass_at_k, pass_hat_k
from proofgym.agents.evaluation.paired import Comparison, Decision, compare_paired, decide, holm
from proofgym.agents.evaluation.play import attempts_at, evaluate
from proofgym.agents.evaluation.rate import Bounds, Rate, clustered_wilson, mean_of_tasks
from proofgym.agents.evaluation.report import AtK, EvalReport, Level, by_task, report_on

__all__ = [
    "AtK",
    "Bounds",
    "Comparison",
    "Decision",
    "EvalReport",
    "Level",
    "Rate",
    "attempts_at",
    "by_task",
    "clustered_wilson",
    "compare_paired",
    "decide",
    "evaluate",
    "holm",
    "maj_at_k",
    "mean_of_tasks",
    "pass_at_k",
    "pass_hat_k",
    "report_on",
]
