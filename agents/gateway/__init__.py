"""An OpenAI-compatible server in front of an engine, so that other people's agents can train."""

from proofgym.agents.gateway.agent import Agent, AgentDriver
from proofgym.agents.gateway.agent_config import AgentConfig, load_agent, playing_agent
from proofgym.agents.gateway.config import GatewayConfig
from proofgym.agents.gateway.gateway import Gateway
from proofgym.agents.gateway.session import GatewaySession

__all__ = [
    "Agent",
    "AgentConfig",
    "AgentDriver",
    "Gateway",
    "GatewayConfig",
    "GatewaySession",
    "load_agent",
    "playing_agent",
]
