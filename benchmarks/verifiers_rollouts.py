"""The peer of :mod:`rollouts`, in a Python of its own that has ``verifiers`` 0.1.14.

Run: ``python benchmarks/verifiers_rollouts.py BASE_URL ROLLOUTS CONCURRENT``; it prints JSON: the
version, the rollouts, CPU seconds and the mean reward. A first small round warms it up.
"""

import asyncio
import json
import logging
import os
import sys
import time
from importlib.metadata import version

from datasets import Dataset
from verifiers.types import ClientConfig

import verifiers as vf

SYSTEM = "You look things up with a tool before you answer."


def look(key: str) -> str:
    """Look something up.

    Args:
        key: what.
    """
    return f"value of {key} is 42"


async def says_42(completion) -> float:  # type: ignore[no-untyped-def]  # read by its name
    """Pay for the answer."""
    return float("42" in (completion[-1].content or ""))


async def play(env, client: ClientConfig, rollouts: int, concurrent: int):  # type: ignore[no-untyped-def]
    """Play so many rollouts and return their outputs."""
    rows = env.get_dataset(n=rollouts).to_list()
    return await env.generate(
        rows,
        client=client,
        model="policy",
        sampling_args={"max_tokens": 64},
        max_concurrent=concurrent,
        on_start=lambda *_: None,
        on_progress=lambda *_: None,
        on_log=lambda *_: None,
        independent_scoring=True,
    )


def main() -> None:
    """Print one line of JSON."""
    url, rollouts, concurrent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.CRITICAL)
    os.environ["NO_KEY"] = "none"
    rows = [
        {"question": f"Look up item {i} and say its value.", "answer": "42"}
        for i in range(rollouts)
    ]
    env = vf.ToolEnv(
        dataset=Dataset.from_list(rows),
        tools=[look],
        max_turns=10,
        system_prompt=SYSTEM,
        rubric=vf.Rubric(funcs=[says_42]),
    )
    client = ClientConfig(api_base_url=url, api_key_var="NO_KEY")
    asyncio.run(play(env, client, 16, 16))
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        done = asyncio.run(play(env, client, rollouts, concurrent))
        best = min(best, time.process_time() - started)
    rewards = [output["reward"] for output in done["outputs"]]
    print(json.dumps({
        "name": f"verifiers {version('verifiers')}", "rollouts": len(rewards), "cpu_s": best,
        "reward": sum(rewards) / len(rewards),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
