"""A run that takes a second."""

from pathlib import Path

import pytest

TINY_RUN = """\
name = "tiny"
environment = "tools/calculator-v0"
torch_threads = 1
checkpoint_every = 2
engine = { kind = "embedded", slots = 32 }

[model]
kind = "tiny"
hidden_size = 32
layers = 1
heads = 2
kv_heads = 2
head_dim = 16
mlp_size = 32

[evaluation]
tasks = 12
max_tokens = 8

[stages.sft]
kind = "sft"
steps = 4
batch_size = 8
demonstrators = { oracle = 0.5, hurried = 0.5 }
optimizer = { lr = 1e-3 }

[stages.grpo]
kind = "rl"
init = "sft"
steps = 6
prompts = 2
group_size = 4
max_tokens = 8
optimizer = { lr = 1e-3 }
"""


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    """Write a whole run's configuration that takes about a second to run."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RUN)
    return path
