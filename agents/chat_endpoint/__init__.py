"""A policy behind any OpenAI-compatible URL, for evaluation."""

from proofgym.agents.chat_endpoint.config import ChatEndpointConfig, Price
from proofgym.agents.chat_endpoint.endpoint import ChatEndpoint, EndpointRefusedError
from proofgym.agents.chat_endpoint.usage import Usage

__all__ = ["ChatEndpoint", "ChatEndpointConfig", "EndpointRefusedError", "Price", "Usage"]
