"""Judge programs by tests that they cannot see."""

from proofgym.verifiers.code.spec import CodeLimits, CodeTests, Kind, Language
from proofgym.verifiers.code.verifier import CodePasses, Credit, code_passes

__all__ = ["CodeLimits", "CodePasses", "CodeTests", "Credit", "Kind", "Language", "code_passes"]
