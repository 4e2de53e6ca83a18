"""Attack an environment, and say whether its reward can be trusted."""

from proofgym.envs.audit.checks import CHECKS, Check, Level
from proofgym.envs.audit.report import AuditReport, Finding, Verdict
from proofgym.envs.audit.run import audit

__all__ = ["CHECKS", "AuditReport", "Check", "Finding", "Level", "Verdict", "audit"]
