"""Functions that a policy may call."""

from proofgym.envs.tools.dispatch import AnyTool, Outcome, ToolFault, run_call
from proofgym.envs.tools.sandboxed import bash_tool, python_tool
from proofgym.envs.tools.tool import Tool, tool

__all__ = [
    "AnyTool",
    "Outcome",
    "Tool",
    "ToolFault",
    "bash_tool",
    "python_tool",
    "run_call",
    "tool",
]
