"""The probes' names, for the parent, which imports none of them."""

PROBE_NAMES = ("traces", "contract", "oracle", "data", "leaks", "execution", "state", "reward")
"""In the order in which they run; the traces first, while nothing has happened in the process."""
