"""An agent written elsewhere, named in a run's configuration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from proofgym.agents.errors import AgentError
from proofgym.agents.gateway.agent import Agent, AgentDriver
from proofgym.agents.gateway.config import GatewayConfig
from proofgym.agents.gateway.gateway import Gateway
from proofgym.agents.policy import EnginePolicy
from proofgym.envs import Env, EnvError
from proofgym.envs.registry import load_module


class AgentConfig(BaseModel):
    """Play the environment's tasks with an agent that knows nothing but an OpenAI base URL.

    The environment gives the tasks, and its rubric judges what the agent's last conversation said
    where the agent returns no reward. Its system prompt, tools and limits are the agent's affair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry: str = Field(
        pattern=r"^.+:[A-Za-z_]\w*$",
        description="module:function, or path/to/file.py:function; async, of one session",
    )
    max_live: int = Field(default=256, ge=1, description="episodes at once")
    seconds: float = Field(default=600.0, gt=0, description="for one episode")
    retries: int = Field(default=1, ge=0, description="of an episode that the engine failed")
    gateway: GatewayConfig = GatewayConfig()


@asynccontextmanager
async def playing_agent(
    config: AgentConfig, policy: EnginePolicy, environment: type[Env]
) -> AsyncIterator[AgentDriver]:
    """Open a gateway to a policy, and lend a driver that plays an agent through it.

    Raises:
        AgentError: the agent cannot be loaded.
    """
    agent = load_agent(config.entry)
    async with Gateway(policy, config.gateway) as gateway:
        yield AgentDriver(
            gateway,
            agent,
            environment.rubric,
            max_live=config.max_live,
            seconds=config.seconds,
            retries=config.retries,
            env_id=environment.id,
        )


def load_agent(entry: str) -> Agent:
    """Find an agent's function.

    Raises:
        AgentError: there is none, or it is not asynchronous.
    """
    place, _, name = entry.rpartition(":")
    try:
        found: Any = getattr(load_module(place), name, None)
    except EnvError as error:
        raise AgentError(f"agent.entry = {entry!r}: {error}") from error
    if not iscoroutinefunction(found):
        what = f"a {type(found).__name__}" if found is not None else "nothing"
        raise AgentError(
            f"agent.entry must name an `async def` that takes a session, got {what} for {entry!r}. "
            "Call a blocking agent with asyncio.to_thread in one."
        )
    agent: Agent = found
    return agent
