"""``proofgym train`` with an agent that its author wrote with the openai client, and a TOML."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proofgym.agents import AgentError, read_episodes
from proofgym.agents.gateway import AgentConfig, load_agent
from proofgym.trainers.ledger import check_ledger

from .command import run_command

AGENT = """\
import openai

async def talkative(session):
    # Ask twice, in one conversation; the task and a URL are all that is known.
    messages = [{"role": "user", "content": str(session.assignment.task.prompt)}]
    said = []
    async with openai.AsyncOpenAI(base_url=session.base_url, api_key="unused") as client:
        for _ in range(2):
            reply = await client.chat.completions.create(model="policy", messages=messages)
            said.append(reply.choices[0].message.content or "")
            messages += [
                {"role": "assistant", "content": said[-1]},
                {"role": "user", "content": "again"},
            ]
    letters = [letter for letter in "".join(said) if letter.isalpha()]
    return sum(letter in "abcdef" for letter in letters) / max(len(letters), 4)

async def judged_by_the_rubric(session):
    await talkative(session)

def blocking(session):
    return 0.0
"""

RUN = """\
name = "agent"
environment = "math/sums-v0"
torch_threads = 1
engine = { kind = "embedded", slots = 32 }

[agent]
entry = "agent.py:talkative"

[model]
kind = "tiny"
hidden_size = 32
layers = 1
heads = 2
kv_heads = 2
head_dim = 16
mlp_size = 32
max_context = 256

[evaluation]
tasks = 24
max_tokens = 8

[stages.grpo]
kind = "rl"
steps = 14
prompts = 4
group_size = 8
max_tokens = 8
optimizer = { lr = 1e-2 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path


def train(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    done = run_command("train", "run.toml", *overrides, "--run-dir", "run", cwd=folder)
    assert done.code == 0, done.err
    check_ledger(folder / "run" / "ledger.sqlite")
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_an_openai_agent_is_trained_and_measured_from_a_toml(folder: Path) -> None:
    records = train(folder)

    rewards = {r["stage"]: r["reward/mean"] for r in records if r["kind"] == "evaluation"}
    assert rewards["grpo"] > rewards["base"] + 0.2  # 0.34 to 0.51 more with three seeds
    steps = [record for record in records if record["kind"] == "step"]
    assert max(step["mismatch/abs_diff_max"] for step in steps if "loss" in step) < 1e-4
    assert [step["env/infra_frac"] + step["env/error_frac"] for step in steps] == [0.0] * 14
    episodes = read_episodes(folder / "run" / "episodes" / "grpo-000001.jsonl")
    assert {(episode.env_id, len(episode.turns)) for episode in episodes} == {("math/sums-v0", 2)}
    assert len(episodes) == 4 * 8


@pytest.mark.slow
def test_the_environments_rubric_judges_an_agent_that_gives_no_reward(folder: Path) -> None:
    entry = "agent.entry=agent.py:judged_by_the_rubric"
    records = train(folder, entry, "stages.grpo.steps=1", "evaluation.tasks=4")

    (step,) = [record for record in records if record["kind"] == "step"]
    assert step["reward/mean"] == 0.0  # noise solves no sum, and that was judged
    assert step["env/error_frac"] == 0.0
    (episode, *_) = read_episodes(folder / "run" / "episodes" / "grpo-000001.jsonl")
    assert episode.score is not None
    assert episode.score.parts


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("agent.py:blocking", "must name an `async def`.*got a function.*asyncio.to_thread"),
        ("agent.py:missing", "must name an `async def`.*got nothing"),
        ("nowhere.py:play", "agent.entry = 'nowhere.py:play'.*no file at"),
    ],
)
def test_what_is_no_agent_is_named(
    entry: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(AgentError, match=words):
        load_agent(entry)


def test_an_entry_names_a_place_and_a_function() -> None:
    with pytest.raises(ValidationError, match="entry"):
        AgentConfig(entry="agent.py")
    assert asyncio.iscoroutinefunction(load_agent("asyncio:sleep"))
