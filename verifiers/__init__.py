"""Turn a transcript and a hidden answer into a Score."""

from proofgym.verifiers.boxed_format import format_ok
from proofgym.verifiers.calls_used import calls_used
from proofgym.verifiers.choice import choice
from proofgym.verifiers.code import CodeLimits, CodePasses, code_passes
from proofgym.verifiers.errors import BadTaskError, SecretLeakError, VerifierError
from proofgym.verifiers.exact import exact
from proofgym.verifiers.instructions import instruction_following
from proofgym.verifiers.judge import (
    JudgeEndpoint,
    Panel,
    constitution,
    found_no_answer,
    judge,
    pairwise,
    upgrade,
)
from proofgym.verifiers.length import length
from proofgym.verifiers.math import math_equal
from proofgym.verifiers.message import (
    Message,
    Role,
    ToolCall,
    assistant,
    final_text,
    system,
    tool_call,
    user,
)
from proofgym.verifiers.numeric import numeric
from proofgym.verifiers.pattern import pattern
from proofgym.verifiers.score import ErrorKind, Score, ScoreError
from proofgym.verifiers.secret import Secret
from proofgym.verifiers.structured_output import structured_output
from proofgym.verifiers.task import Task
from proofgym.verifiers.token_f1 import token_f1
from proofgym.verifiers.tool_trace import end_state, tool_trace
from proofgym.verifiers.transcript import Transcript
from proofgym.verifiers.verifier import Rubric, Runs, Verifier, gate, min_of, verifier

__all__ = [
    "BadTaskError",
    "CodeLimits",
    "CodePasses",
    "ErrorKind",
    "JudgeEndpoint",
    "Message",
    "Panel",
    "Role",
    "Rubric",
    "Runs",
    "Score",
    "ScoreError",
    "Secret",
    "SecretLeakError",
    "Task",
    "ToolCall",
    "Transcript",
    "Verifier",
    "VerifierError",
    "assistant",
    "calls_used",
    "choice",
    "code_passes",
    "constitution",
    "end_state",
    "exact",
    "final_text",
    "format_ok",
    "found_no_answer",
    "gate",
    "instruction_following",
    "judge",
    "length",
    "math_equal",
    "min_of",
    "numeric",
    "pairwise",
    "pattern",
    "structured_output",
    "system",
    "token_f1",
    "tool_call",
    "tool_trace",
    "upgrade",
    "user",
    "verifier",
]
