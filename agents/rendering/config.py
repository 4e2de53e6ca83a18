"""How a model's conversations are rendered and its replies parsed."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RenderConfig(BaseModel):
    """Rendering; the defaults are right for a model with a chat template of a known family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str = Field(
        default="auto", description="how replies are written; auto: as the chat template says"
    )
    chat_template: Path | None = Field(
        default=None, description="a Jinja file in place of the tokenizer's own template"
    )
    options: dict[str, bool | int | float | str] = Field(
        default={}, description="for the chat template, such as enable_thinking = false"
    )
