"""Summarise weights, so that two sides can tell whether they hold the same ones."""

from collections.abc import Mapping

from torch import Tensor

from proofgym.agents.engine import Fingerprint
from proofgym.agents.vllm_engine.extension.proofgym_digest import digest_tensor, sums_and_digest


def fingerprint(tensors: Mapping[str, Tensor], version: int) -> Fingerprint:
    """Sum and digest tensors by their names, on the device where they lie.

    Two names for one tied tensor count twice, so both sides must use the same names;
    ``model.named_parameters()`` names a tied tensor once.
    """
    sums, digest = sums_and_digest({name: digest_tensor(one) for name, one in tensors.items()})
    return Fingerprint(version=version, sums=sums, digest=digest)
