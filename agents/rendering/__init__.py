"""Messages to token ids and back, through a model's own chat template, extend-only."""

from proofgym.agents.rendering.config import RenderConfig
from proofgym.agents.rendering.conversation import Conversation, Prompt
from proofgym.agents.rendering.renderer import Renderer

__all__ = ["Conversation", "Prompt", "RenderConfig", "Renderer"]
