"""An agent loop with an OpenAI client, and nothing of ours, is trained through the gateway."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch

from proofgym.agents import Assignment, EnginePolicy, Renderer
from proofgym.agents.gateway import AgentDriver, Gateway, GatewaySession
from proofgym.agents.tiny_policy import TinyPolicyConfig, tiny_model, tiny_tokenizer
from proofgym.agents.transformers_engine import TransformersEngine
from proofgym.envs import Episode, Sampling
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.rl import descend
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import samples_of
from proofgym.trainers.step_bundle import Recorder
from proofgym.verifiers import Secret, Task

# From here to the next comment: what its author wrote. It knows a URL, and no more.


async def agent_loop(base_url: str, question: str) -> list[str]:
    """Ask, criticise, ask again; then let a second conversation sum up."""
    said: list[str] = []
    messages: list[Any] = [{"role": "user", "content": question}]
    async with openai.AsyncOpenAI(base_url=base_url, api_key="unused") as client:
        for remark in ("shorter", "once more", ""):
            reply = await client.chat.completions.create(model="policy", messages=messages)
            said.append(reply.choices[0].message.content or "")
            messages += [
                {"role": "assistant", "content": said[-1]},
                {"role": "user", "content": remark},
            ]
        summary = [{"role": "user", "content": "sum up: " + said[-1]}]
        reply = await client.chat.completions.create(model="policy", messages=summary)  # type: ignore[arg-type]  # plain dicts
        said.append(reply.choices[0].message.content or "")
    return said


# The trainer's side.


async def paid_for_letters(session: GatewaySession) -> float:
    said = await agent_loop(session.base_url, str(session.assignment.task.prompt))
    return float(sum(letter in "abcde" for letter in "".join(said)))


def full_logprobs(model: Any, tokens: np.ndarray) -> np.ndarray:
    """The plain forward pass of a whole row, in one piece."""
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0].double()
    logp = torch.log_softmax(logits, dim=-1)
    picked = logp[:-1].gather(1, torch.from_numpy(tokens[1:].astype(np.int64))[:, None])[:, 0]
    return np.concatenate([[0.0], picked.numpy()])


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    size = TinyPolicyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16)
    model = tiny_model(size, tokenizer, seed=0)
    engine = TransformersEngine(model)
    policy = EnginePolicy(engine, Renderer(tokenizer), Sampling(max_tokens=8))
    assignments = [
        Assignment(
            task=Task(id=f"{group}", prompt=f"say {group}", answer=Secret("")),
            seed=10 * group + rollout,
            group=group,
            rollout=rollout,
        )
        for group in range(2)
        for rollout in range(4)
    ]

    async def play() -> list[Episode]:
        async with Gateway(policy) as gateway:
            return await AgentDriver(gateway, paid_for_letters).run(assignments)

    episodes = asyncio.run(play())
    rows = [row for episode in episodes for row in samples_of(episode)]
    exact = [(row, full_logprobs(model, row.tokens)) for row in rows]
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    config = RlConfig.model_validate(
        {"kind": "rl", "steps": 1, "prompts": 2, "group_size": 4, "max_tokens": 8,
         "optimizer": {"lr": 1e-2}}
    )  # fmt: skip
    learner = Learner(model, OptimizerConfig(lr=1e-2), total_steps=1)
    done = descend(learner, episodes, config, Recorder(tmp_path, "rl", 0, keep=False))
    asyncio.run(engine.load({}, 1))
    again = asyncio.run(play())
    return {"episodes": episodes, "exact": exact, "before": before, "model": model,
            "done": done, "again": again}  # fmt: skip


def test_an_openai_agent_trains_a_step_with_exact_logprobs(trained: dict[str, Any]) -> None:
    episodes: list[Episode] = trained["episodes"]
    assert [episode.fault for episode in episodes] == [None] * 8
    assert all(episode.scored and len(episode.turns) == 4 for episode in episodes)
    assert all(len({turn.row for turn in episode.turns}) >= 2 for episode in episodes)
    for row, logprobs in trained["exact"]:
        assert row.num_actions
        np.testing.assert_allclose(row.logp[row.action], logprobs[row.action], atol=1e-5, rtol=0)
    done = trained["done"]
    assert done.tokens > 0
    assert done.metrics["grad_norm"] > 0
    assert done.metrics["mismatch/abs_diff_max"] < 1e-5
    after = dict(trained["model"].named_parameters())
    assert not any(torch.equal(after[name], was) for name, was in trained["before"].items())
    versions = {int(v) for one in trained["again"] for turn in one.turns for v in turn.versions}
    assert versions == {1}, "the next rollout samples from what was trained"
