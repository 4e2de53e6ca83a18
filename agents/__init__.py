"""Policies: engines, renderers, the rollout driver, evaluation."""

from proofgym.agents.chat_endpoint import ChatEndpoint, ChatEndpointConfig
from proofgym.agents.driver import Assignment, Deadlines, Driver
from proofgym.agents.engine import Completion, Engine, Fingerprint, Finish
from proofgym.agents.episode_files import read_episodes, write_episodes
from proofgym.agents.errors import AgentError, EngineError, RenderError, WeightSyncError
from proofgym.agents.evaluation import (
    AtK,
    Bounds,
    Comparison,
    Decision,
    EvalReport,
    Level,
    Rate,
    attempts_at,
    compare_paired,
    evaluate,
    maj_at_k,
    pass_at_k,
    pass_hat_k,
    report_on,
)
from proofgym.agents.policy import Act, EnginePolicy, Human, Policy, Scripted, Seat
from proofgym.agents.rendering import Conversation, Prompt, RenderConfig, Renderer
from proofgym.agents.scripted_engine import ScriptedEngine

__all__ = [
    "Act",
    "AgentError",
    "Assignment",
    "AtK",
    "Bounds",
    "ChatEndpoint",
    "ChatEndpointConfig",
    "Comparison",
    "Completion",
    "Conversation",
    "Deadlines",
    "Decision",
    "Driver",
    "Engine",
    "EngineError",
    "EnginePolicy",
    "EvalReport",
    "Fingerprint",
    "Finish",
    "Human",
    "Level",
    "Policy",
    "Prompt",
    "Rate",
    "RenderConfig",
    "RenderError",
    "Renderer",
    "Scripted",
    "ScriptedEngine",
    "Seat",
    "WeightSyncError",
    "attempts_at",
    "compare_paired",
    "evaluate",
    "maj_at_k",
    "pass_at_k",
    "pass_hat_k",
    "read_episodes",
    "report_on",
    "write_episodes",
]
