"""What was asked of an endpoint, and what it took."""

from dataclasses import dataclass
from typing import Any

from proofgym.agents.chat_endpoint.config import Price


@dataclass(slots=True, kw_only=True)
class Usage:
    """Counts over all episodes of one endpoint.

    Args:
        requests: sent, retries included.
        retries: of those, sent again after a failure.
        rate_limited: answered with HTTP 429.
        prompt_tokens, completion_tokens: as the server counts them.
        uncounted: replies for which the server gave no counts.
        reported_cost: in dollars, where the server says what a request cost.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    reported_cost: float | None = None

    def count(self, usage: Any) -> int:
        """Add a reply's ``usage`` object; return its completion tokens, 0 where it has none."""
        counts = usage if isinstance(usage, dict) else {}
        prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
        cost = counts.get("cost")
        if isinstance(cost, int | float):
            self.reported_cost = (self.reported_cost or 0.0) + cost
        if not isinstance(prompt, int) or not isinstance(completion, int):
            self.uncounted += 1
            return 0
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        return completion

    def cost(self, price: Price | None) -> float | None:
        """Return the dollars spent, by the price, else as reported; None where neither is known."""
        if price is None:
            return self.reported_cost
        spent = self.prompt_tokens * price.prompt + self.completion_tokens * price.completion
        return spent / 1e6
