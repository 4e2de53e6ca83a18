"""Text that arrives in chunks, with the padding of its format taken off on the way."""


class Flow:
    """Collect text; what was let through never has to be taken back.

    Args:
        label: dropped where the text begins with it.
        lead: characters dropped from the beginning.
        trail: characters held back at the end until more text follows.
    """

    def __init__(self, *, label: str = "", lead: str = "", trail: str = "") -> None:
        self.label = label
        self.lead = lead
        self.trail = trail
        self.parts: list[str] = []
        self._held: list[str] = []
        self._taken = 0

    @property
    def begun(self) -> bool:
        """Whether anything came that was not dropped."""
        return bool(self.parts or self._held)

    @property
    def text(self) -> str:
        """What was let through so far."""
        return "".join(self.parts)

    def add(self, text: str) -> None:
        """Take a chunk."""
        if self.label:
            text = "".join(self._held) + text
            self._held = [text]
            if self.label.startswith(text):
                if text == self.label:
                    self.label, self._held = "", []
                return
            text, self.label, self._held = text.removeprefix(self.label), "", []
        if not self.begun:
            text = text.lstrip(self.lead)
        kept = text.rstrip(self.trail)
        if kept:
            self.parts += [*self._held, kept]
            self._held = []
        if len(kept) < len(text):
            self._held.append(text[len(kept) :])

    def drop(self) -> None:
        """Forget what is held back."""
        self._held = []

    def release(self) -> None:
        """Let through what is held back."""
        self.parts += self._held
        self._held = []

    def take(self) -> str:
        """Return what was let through since the last time."""
        new = "".join(self.parts[self._taken :])
        self._taken = len(self.parts)
        return new
