"""Where the gateway listens, and how far a session may go."""

from pydantic import BaseModel, ConfigDict, Field


class GatewayConfig(BaseModel):
    """Where the gateway listens, and how far a session may go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="beyond the loopback: a private network")
    port: int = Field(default=0, ge=0, le=65535, description="0 takes a free one")
    model: str = Field(default="policy", min_length=1, description="the name that /v1/models shows")
    turns: int = Field(default=256, ge=1, description="completions in one session")
    tokens: int = Field(default=65536, ge=1, description="sampled in one session")
    generate_s: float = Field(default=600.0, gt=0, description="the longest wait for a completion")
    body_bytes: int = Field(default=16 << 20, ge=1, description="of one request")
    connections: int = Field(default=4096, ge=1)
