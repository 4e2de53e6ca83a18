"""Which versions of vLLM this engine speaks to."""

import re

from proofgym.agents.errors import EngineError

OLDEST, NEWEST = (0, 26), (0, 33)
RUN_IN_TESTS = "0.32"


def check_version(version: str, *, allow_untested: bool) -> None:
    """Refuse a server whose routes may have changed.

    Raises:
        EngineError: the version is outside the range, or no version at all.
    """
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
        return
    if allow_untested:
        return
    raise EngineError(
        f"expected a vLLM server of version {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} "
        f"({RUN_IN_TESTS} is the one that the tests run; the others by their documented routes), "
        f"got {version!r}. Install one of these, or set engine.allow_untested_version and check "
        "that logprobs of server and learner agree."
    )
