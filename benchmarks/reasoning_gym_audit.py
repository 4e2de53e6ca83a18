"""Audit data sets of reasoning-gym: which pay for answers that are wrong?

Run: python benchmarks/reasoning_gym_audit.py [DATASET ...]; it needs the reasoning-gym extra.
Without names it takes those whose scorers were seen to pay for nonsense.
"""

import importlib.util
import sys

from proofgym.envs.audit import Verdict, audit

SUSPECTS = (
    "advanced_geometry",
    "circuit_logic",
    "coin_flip",
    "countdown",
    "game_of_life_halting",
    "sentence_reordering",
)
BUDGET_S = 60.0


def main(datasets: list[str]) -> None:
    """Print the failed checks of each data set, with the first evidence."""
    if importlib.util.find_spec("reasoning_gym") is None:
        print("reasoning-gym is not installed: pip install 'proofgym[reasoning-gym]'")
        return
    for dataset in datasets or SUSPECTS:
        report = audit(f"reasoning-gym/{dataset}-v0", budget_s=BUDGET_S)
        print(f"{dataset}: {'unsound' if report.failed() else 'passed'}")
        for finding in report.of(Verdict.FAIL):
            print(f"  {finding.check}: {finding.evidence[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
