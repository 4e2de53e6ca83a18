"""Where a model behind a URL is, and how it is asked. It never holds a key."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must begin with http:// or https:// and name a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "it must have no user, password, query or fragment, which could hold a key: a run's "
            "folder keeps the URL. Give the key in an environment variable"
        )
    return url.rstrip("/")


class Price(BaseModel):
    """What tokens cost, in dollars a million."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)


class ChatEndpointConfig(BaseModel):
    """Where a model is, and how it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: Annotated[str, AfterValidator(_plain_url)] = Field(description="up to and with /v1")
    model: str = Field(min_length=1, description="its name there")
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_tokens: int = Field(default=4096, ge=1, description="of one message")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    send_seed: bool = Field(default=True, description="false where a server refuses the field")
    send_reasoning: bool = Field(
        default=False, description="send earlier messages' reasoning back, as some servers demand"
    )
    timeout_s: float = Field(default=300.0, gt=0, description="for one attempt, to the last byte")
    deadline_s: float = Field(default=900.0, gt=0, description="for all attempts at one message")
    retries: int = Field(default=5, ge=0, description="after 429, 5xx and broken connections")
    concurrency: int = Field(default=8, ge=1, description="requests at once, to begin with")
    max_concurrency: int = Field(default=64, ge=1, description="what it may grow to")
    price: Price | None = None
    extra: dict[str, Any] = Field(default={}, description="further fields of the request's body")
