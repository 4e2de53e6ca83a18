"""What is closed when a ``with`` block ends."""

from abc import ABC, abstractmethod
from typing import Self


class ClosedAfterUse(ABC):
    """Close at the end of an ``async with`` block, however it ends."""

    @abstractmethod
    async def close(self) -> None:
        """Free everything; a second call does nothing."""

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()
