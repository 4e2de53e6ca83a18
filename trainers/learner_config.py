"""How a stage's model is trained, apart from the algorithm and the optimiser."""

from typing import Annotated, Literal

from pydantic import Field

from proofgym.trainers.losses.terms import Settings


class NoAdapter(Settings):
    """Every weight is trained."""

    kind: Literal["none"] = "none"


class Lora(Settings):
    """Adapters beside linear maps, which stay as they are: W + alpha / rank * B A.

    Learning rates are some ten times those of full training. Source: LoRA, arXiv:2106.09685,
    section 4.1, by peft.
    """

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    targets: list[str] = Field(
        default=["all-linear"],
        min_length=1,
        description="names of modules, such as q_proj; all-linear: every linear map but the head",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, description="of A's first values; B begins at 0")


class LearnerConfig(Settings):
    """Which weights are trained, and how exactly and with how much memory.

    Weights, their gradients, the optimiser and the logits are float32 with either type; bfloat16
    is what the layers compute in, on devices where that is faster.
    """

    adapter: Annotated[NoAdapter | Lora, Field(discriminator="kind")] = NoAdapter()
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = Field(
        default=False, description="compile the layers, once a run: a minute, for much less waiting"
    )
    activation_checkpointing: bool = Field(
        default=False, description="keep each layer's input only; a third more to compute"
    )
