"""Count environment steps a second, beside skyrl-gym and gem-llm, on one trivial conversation.

Run: ``python benchmarks/env_steps.py [--peers PYTHON]``

The task is the same everywhere: eight turns, in each of which the policy says "yes" and the
environment answers "again"; the last one ends the episode and pays 1. Steps are counted by CPU time
of one process, best of several runs in which ours and the peers' take turns, with resets but for
"step alone":

- step: gymnasium's face, one environment after the other;
- astep: the driver's face, 1,000 live episodes that take turns in one event loop;
- rollout: one-turn episodes of math/sums-v0, each with a task of its own, played by the driver
  with the tokenizer and chat template of the quickstart: making the task, rendering, parsing,
  scoring and the record; all but the engine, whose stand-in's time is taken off;
- memory: what 2,000 live episodes of several turns hold, for three bundled environments, each in
  a process of its own.

The peers' step is the author's method and nothing around it: skyrl-gym and gem-llm keep no
messages, hold no limits, parse no calls and write no record, which is left to the trainer.
gem-llm's wrappers, which join what was said and count the steps, are measured too.

``--peers`` names a Python that has skyrl-gym and gem-llm installed; they are measured in processes
of it, and left out where it has neither. gem-llm pins older versions of what it needs:
``pip install --no-deps gem-llm skyrl-gym`` and then ``pip install reasoning-gym nltk msgspec
math-verify pandas omegaconf func_timeout requests``.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

TURNS, EPISODES, LIVE, LIVE_FOR_MEMORY, RUNS, ROUNDS = 8, 1_000, 1_000, 2_000, 3, 3
ROLLOUTS = 2_000
PEERS = """
import json, time
TURNS, EPISODES, RUNS = 8, 1000, 3
found = {}

def best(play):
    play(50)
    most = 0.0
    for _ in range(RUNS):
        started = time.process_time()
        play(EPISODES)
        most = max(most, EPISODES * TURNS / (time.process_time() - started))
    return most

try:
    from importlib.metadata import version
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

    class Chat(BaseTextEnv):
        def step(self, action):
            self.turns += 1
            if self.turns == TURNS:
                return BaseTextEnvStepOutput(observations=[], reward=1.0, done=True, metadata={})
            said = [{"role": "user", "content": "again"}]
            return BaseTextEnvStepOutput(observations=said, reward=0.0, done=False, metadata={})

    def play(episodes):
        for _ in range(episodes):
            env = Chat()
            env.init([{"role": "user", "content": "Say yes."}])
            for _ in range(TURNS):
                env.step("yes")

    found["skyrl-gym " + version("skyrl-gym")] = best(play)
except Exception as error:
    found["skyrl-gym"] = f"{type(error).__name__}: {error}"
try:
    from importlib.metadata import version
    from gem.core import Env

    class Game(Env):
        def reset(self, seed=None):
            super().reset(seed)
            self.turns = 0
            return "Say yes.", {}

        def step(self, action):
            self.turns += 1
            done = self.turns == TURNS
            return ("done" if done else "again"), float(done), done, False, {}

    game = Game()

    def play_gem(episodes):
        for _ in range(episodes):
            game.reset()
            for _ in range(TURNS):
                game.step("yes")

    found["gem-llm " + version("gem-llm")] = best(play_gem)
    from gem.wrappers.wrapper_factory import WRAPPER_FACTORY

    game = WRAPPER_FACTORY["episode_tracking"](WRAPPER_FACTORY["concat_with_action"](Game()))
    found["gem-llm, its wrappers"] = best(play_gem)
except Exception as error:
    found["gem-llm"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def chat_environment() -> Any:
    """Declare the trivial conversation."""
    from proofgym.envs import Env, Limits, listed
    from proofgym.verifiers import Task

    class Chat(Env):
        tasks = listed([Task(id="yes", prompt="Say yes.")], heldout=0.0)
        limits = Limits(turns=TURNS, tool_calls=0)

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            if self.episode.turns == TURNS:
                return "done", 1.0, True, False, {"solved": True}
            return "again", 0.0, False, False, {}

    return Chat


def best_rate(play: Callable[[], int]) -> float:
    """Return the most steps a second of CPU time."""
    play()
    most = 0.0
    for _ in range(RUNS):
        started = time.process_time()
        steps = play()
        most = max(most, steps / (time.process_time() - started))
    return most


def by_step() -> int:
    """Play episodes one after the other on gymnasium's face."""
    env = chat_environment()()
    for _ in range(EPISODES):
        env.reset()
        for _ in range(TURNS):
            env.step("yes")
    return EPISODES * TURNS


def step_alone() -> float:
    """Return the steps a second between resets, whose time is left out."""
    env, most = chat_environment()(), 0.0
    for _ in range(RUNS):
        spent = 0.0
        for _ in range(EPISODES):
            env.reset()
            started = time.process_time()
            for _ in range(TURNS):
                env.step("yes")
            spent += time.process_time() - started
        most = max(most, EPISODES * TURNS / spent)
    return most


def by_astep() -> int:
    """Play 1,000 episodes side by side on the driver's face."""
    from proofgym.verifiers import assistant

    cls, yes = chat_environment(), assistant("yes")

    async def play(env: Any, seed: int) -> None:
        await env.areset(seed=seed)
        for _ in range(TURNS):
            await env.astep(yes)
            await asyncio.sleep(0)

    async def play_all() -> None:
        await asyncio.gather(*(play(cls(), seed) for seed in range(LIVE)))

    asyncio.run(play_all())
    return LIVE * TURNS


class StandIn:
    """An engine that knows what to say, and how long it took to say it."""

    max_context = 4096

    def __init__(self, said: dict[int, Any]) -> None:
        self.said = said
        self.spent_s = 0.0

    async def generate(self, prompt_ids: list[int], sampling: Any, seed: int) -> Any:
        """Say the next answer."""
        import numpy as np

        from proofgym.agents import Completion, Finish

        started = time.process_time()
        ids = self.said[seed]
        zeros = np.zeros(len(ids), dtype=np.float32)
        versions = np.zeros(len(ids), dtype=np.int32)
        made = Completion(ids=ids, logprobs=zeros, versions=versions, finish=Finish.STOP)
        self.spent_s += time.process_time() - started
        return made


def rollout_ms() -> float:
    """Return the CPU time of one single-turn rollout without its engine's."""
    import numpy as np

    from proofgym.agents import Assignment, Driver, EnginePolicy, Renderer
    from proofgym.agents.tiny_policy import tiny_tokenizer
    from proofgym.envs import Sampling, derive, environment_class

    cls, renderer = environment_class("math/sums-v0"), Renderer(tiny_tokenizer())
    oracle, said = cls.demonstrator(), {}
    for index in range(ROLLOUTS):
        task = cls.tasks.task("train", index)
        text = oracle(task, task.messages).content
        ids = [*renderer.encode(text), renderer.stop_id]
        said[derive(index, "turn", 0)] = np.array(ids, dtype=np.int32)
    least = float("inf")
    for _ in range(RUNS):
        engine = StandIn(said)
        driver = Driver(cls, EnginePolicy(engine, renderer, Sampling(max_tokens=256)))
        started = time.process_time()
        asked = [
            Assignment(task=cls.tasks.task("train", index), seed=index) for index in range(ROLLOUTS)
        ]
        episodes = asyncio.run(driver.run(asked))
        spent = time.process_time() - started - engine.spent_s
        assert all(one.score is not None and one.score.solved for one in episodes)
        least = min(least, 1_000 * spent / ROLLOUTS)
    return least


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def live_memory(id: str) -> float:
    """Hold 2,000 episodes that are under way, and say what they add."""
    from proofgym.envs import environment_class

    cls = environment_class(id)
    tasks = [cls.tasks.task("train", index) for index in range(50)]

    async def hold() -> list[Any]:
        envs = []
        for number in range(LIVE_FOR_MEMORY):
            env, task = cls(), tasks[number % len(tasks)]
            said = list((await env.areset(task, seed=number)).messages)
            for _ in range(3):
                if env.session.over:
                    break
                message = cls.demonstrator()(task, said)
                move = await env.astep(message)
                said += [message, *move.messages]
            envs.append(env)
        return envs

    before = resident_mib()
    held = asyncio.run(hold())
    added = resident_mib() - before
    assert len(held) == LIVE_FOR_MEMORY
    return added


def measure_peers(python: str) -> dict[str, float | str]:
    """Measure the peers once, in a process of theirs."""
    done = subprocess.run([python, "-c", PEERS], capture_output=True, text=True, check=True)
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one line for each number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="a Python with skyrl-gym and gem-llm")
    peers = parser.parse_args().peers
    print(f"Python {platform.python_version()}, {platform.machine()}")
    best: dict[str, float | str] = {}
    for _ in range(ROUNDS):
        found: dict[str, float | str] = {
            "proofgym step, resets included": best_rate(by_step),
            "proofgym step alone (asked: 50,000)": step_alone(),
            "proofgym astep, 1,000 live (asked: 10,000)": best_rate(by_astep),
            **(measure_peers(peers) if peers else {}),
        }
        for name, rate in found.items():
            known = best.get(name, 0.0)
            best[name] = rate if isinstance(rate, str) else max(rate, float(known))
    for name, rate in best.items():
        print(f"{name:44} {rate if isinstance(rate, str) else f'{rate:12,.0f} steps/s'}")
    least = min(rollout_ms() for _ in range(ROUNDS))
    print(f"{'one single-turn rollout (asked: 1)':44} {least:12.3f} ms of CPU beside the engine's")
    ids = ("tools/shop-v0", "games/grid-world-v0", "tools/multi-hop-v0")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as apart:
        for id, added in zip(ids, apart.map(live_memory, ids), strict=True):
            print(f"{id:44} {added:12,.0f} MiB for 2,000 live episodes (asked: 2,048)")


if __name__ == "__main__":
    main()
