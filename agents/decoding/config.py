"""Name a decoding strategy in one word: ``best-of-8``, ``majority-8``, ``budget:256``."""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proofgym.agents.chat_endpoint import ChatEndpoint
from proofgym.agents.decoding.budget import BudgetForcing
from proofgym.agents.decoding.choosing import Choosing, most_common, most_likely
from proofgym.agents.errors import AgentError
from proofgym.agents.policy import EnginePolicy, Policy

_WORD = re.compile(r"(best-of|majority)-(\d{1,4})|budget:(?:(\d{1,7})-)?(\d{1,7})")
FORMS = "best-of-N, majority-N, budget:MOST or budget:LEAST-MOST"


class DecodeConfig(BaseModel):
    """A decoding strategy.

    ``best-of``: of ``samples`` candidates for each message, the one with the highest mean
    log-probability. ``majority``: the one that most candidates agree on. ``budget``: thinking of
    ``least`` to ``most`` tokens in each message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["best-of", "majority", "budget"]
    samples: int = Field(default=1, ge=1)
    least: int = Field(default=0, ge=0)
    most: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least must be at most {self.most}, got {self.least}")
        return self

    @classmethod
    def parse(cls, word: str) -> "DecodeConfig":
        """Read its one word.

        Raises:
            AgentError: it is none.
        """
        found = _WORD.fullmatch(word)
        if found is None:
            raise AgentError(f"expected a decoding strategy ({FORMS}), got {word!r}.")
        kind, samples, least, most = found.groups()
        try:
            if kind is not None:
                return cls(kind=kind, samples=int(samples))  # type: ignore[arg-type]  # by the pattern
            return cls(kind="budget", least=int(least or 0), most=int(most))
        except ValueError:
            raise AgentError(
                f"expected at least one sample, or a budget of at least one token and LEAST at "
                f"most MOST, got {word!r}."
            ) from None


def decoded(policy: Policy, config: DecodeConfig) -> Policy:
    """Put a decoding strategy over a policy.

    Raises:
        AgentError: this policy cannot be decoded so.
    """
    if config.kind == "budget":
        if not isinstance(policy, EnginePolicy):
            raise AgentError("budget forcing needs a model's token ids, which this policy lacks.")
        return BudgetForcing(policy, least=config.least, most=config.most)
    if isinstance(policy, ChatEndpoint) and config.kind == "best-of":
        raise AgentError("best-of-N needs log-probabilities; for a URL use majority-N.")
    if not isinstance(policy, EnginePolicy | ChatEndpoint):
        raise AgentError("a scripted policy says one thing only: leave --decode out.")
    choose = most_common if config.kind == "majority" else most_likely
    return Choosing(policy.seat, config.samples, choose)
