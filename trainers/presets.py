"""Names of algorithms: each is a combination of an advantage, a loss, weights and corrections.

A row holds only what differs from ``DEFAULTS``; a configuration's own keys override both.
"""

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, Any] = {
    "advantage": {"kind": "group_mean"},
    "loss": {"kind": "ppo_clip"},
    "correction": {
        "token": {"kind": "tis"},
        "sequence": {"kind": "none"},
        "opsm": {"kind": "none"},
    },
    "overlong": {"kind": "keep"},
    "critic": {"kind": "none"},
}
"""The kind of every part that has one; parts' own defaults are in their settings."""

_CLIP: dict[str, Any] = {"kind": "ppo_clip", "clip_low": 0.2, "clip_high": 0.2}
_NO_CORRECTION: dict[str, Any] = {"token": {"kind": "none"}}

PRESETS: dict[str, dict[str, Any]] = {
    # what is recommended for verified rewards
    "rlvr": {},
    # arXiv:2402.03300; without its KL (beta 0.04), as TRL's default
    "grpo": {
        "advantage": {"kind": "group_std"},
        "normaliser": "sequence_mean",
        "loss": _CLIP,
        "filter_flat_groups": False,
    },
    # arXiv:2503.20783
    "dr_grpo": {"normaliser": "constant", "loss": _CLIP, "filter_flat_groups": False},
    # arXiv:2503.14476; flat groups are dropped, and not replaced by further rollouts
    "dapo": {
        "advantage": {"kind": "group_std"},
        "overlong": {"kind": "soft"},
    },
    # arXiv:2507.18071
    "gspo": {
        "advantage": {"kind": "group_std"},
        "normaliser": "sequence_mean",
        "loss": {"kind": "gspo"},
    },
    # arXiv:2506.13585
    "cispo": {"advantage": {"kind": "group_std"}, "loss": {"kind": "cispo"}},
    # arXiv:2510.13786; without its no-positive resampling
    "scale_rl": {
        "advantage": {"kind": "batch_std"},
        "normaliser": "prompt_mean",
        "loss": {"kind": "cispo"},
    },
    # arXiv:2511.20347
    "sapo": {
        "advantage": {"kind": "group_std"},
        "normaliser": "sequence_mean",
        "loss": {"kind": "sapo"},
    },
    # arXiv:2602.04879
    "dppo": {"loss": {"kind": "dppo_tv"}, "anchor": "behaviour", "correction": _NO_CORRECTION},
    # arXiv:2402.14740
    "rloo": {
        "advantage": {"kind": "leave_one_out"},
        "normaliser": "sequence_sum",
        "loss": {"kind": "reinforce"},
        "filter_flat_groups": False,
    },
    # arXiv:2501.03262
    "reinforce_pp": {
        "advantage": {"kind": "reinforce_pp"},
        "loss": _CLIP,
        "filter_flat_groups": False,
    },
    "reinforce_pp_baseline": {
        "advantage": {"kind": "reinforce_pp", "baseline": True},
        "loss": _CLIP,
        "filter_flat_groups": False,
    },
    # arXiv:2602.02710
    "max_rl": {"advantage": {"kind": "max_rl"}},
    # arXiv:2505.10978
    "gigpo": {"advantage": {"kind": "step_groups"}, "normaliser": "sequence_mean", "loss": _CLIP},
    # arXiv:1707.06347
    "ppo": {
        "advantage": {"kind": "gae"},
        "loss": _CLIP,
        "critic": {"kind": "value_head"},
        "filter_flat_groups": False,
    },
    # arXiv:2203.02155
    "rlhf_ppo": {
        "advantage": {"kind": "gae"},
        "loss": _CLIP,
        "critic": {"kind": "value_head"},
        "filter_flat_groups": False,
        "kl": {"beta": 0.05, "estimator": "k1", "place": "reward"},
    },
}


def filled(table: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Lay a configuration's own keys over its algorithm's, and those over the defaults."""
    return _over(_over(DEFAULTS, PRESETS[preset]), table)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge tables; where another ``kind`` is named, the settings of the one below are dropped."""
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        if not (isinstance(value, Mapping) and isinstance(under, Mapping)):
            out[key] = value
        elif value.get("kind", under.get("kind")) == under.get("kind"):
            out[key] = _over(under, value)
        else:
            out[key] = value
    return out
