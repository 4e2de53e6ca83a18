"""Make values fit for JSON, which has no nan and no infinity."""

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """Return a copy in which every number that is not finite is None, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
