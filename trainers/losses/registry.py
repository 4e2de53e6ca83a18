"""The policy losses by their kind. A new one is a file, and a line in each of the two tables."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from proofgym.trainers.losses.cispo import Cispo, cispo
from proofgym.trainers.losses.dppo_tv import DppoTv, dppo_tv
from proofgym.trainers.losses.gspo import Gspo, gspo
from proofgym.trainers.losses.ppo_clip import PpoClip, ppo_clip
from proofgym.trainers.losses.reinforce import Reinforce, reinforce
from proofgym.trainers.losses.sapo import Sapo, sapo
from proofgym.trainers.losses.terms import PolicyTokens, TokenTerms

PolicyLossConfig = Annotated[
    PpoClip | Reinforce | Gspo | Cispo | DppoTv | Sapo, Field(discriminator="kind")
]

POLICY_LOSSES: dict[str, Callable[[PolicyTokens, Any], TokenTerms]] = {
    "ppo_clip": ppo_clip,
    "reinforce": reinforce,
    "gspo": gspo,
    "cispo": cispo,
    "dppo_tv": dppo_tv,
    "sapo": sapo,
}
