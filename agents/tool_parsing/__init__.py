"""Read what a policy sampled: its text, its thinking and its tool calls."""

from proofgym.agents.tool_parsing.draft import Delta
from proofgym.agents.tool_parsing.reply_parser import ReplyParser, ReplyStream
from proofgym.agents.tool_parsing.styles import STYLES, Style

__all__ = ["STYLES", "Delta", "ReplyParser", "ReplyStream", "Style"]
