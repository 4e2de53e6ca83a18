"""Count environment steps a second, beside skyrl-gym and gem-llm, on one trivial conversation.

Run: ``python benchmarks/env_steps.py [--peers PYTHON]``

The task is the same everywhere: eight turns, in each of which the policy says "yes" and the
environment answers "again"; the last one ends the episode and pays 1. Steps are counted by CPU time
of one process, best of several runs, with resets but for "step alone":

- step: gymnasium's face, one environment after the other;
- astep: the driver's face, 1,000 live episodes that take turns in one event loop;
- memory: what 2,000 live episodes of several turns hold, for three bundled environments.

``--peers`` names a Python that has skyrl-gym and gem-llm installed (``pip install skyrl-gym
gem-llm``); they are measured in a process of it, and left out where it has neither.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURNS, EPISODES, LIVE, LIVE_FOR_MEMORY, RUNS = 8, 1_000, 1_000, 2_000, 7
PEERS = """
import json, time
TURNS, EPISODES, RUNS = 8, 1000, 7
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


def main() -> None:
    """Print one line for each number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="a Python with skyrl-gym and gem-llm")
    peers = parser.parse_args().peers
    print(f"Python {platform.python_version()}, {platform.machine()}")
    print(f"{'proofgym step':24} {best_rate(by_step):12,.0f} steps/s, resets included")
    print(f"{'proofgym step alone':24} {step_alone():12,.0f} steps/s (asked: 50,000)")
    print(f"{'proofgym astep, 1,000':24} {best_rate(by_astep):12,.0f} steps/s (asked: 10,000)")
    if peers:
        done = subprocess.run([peers, "-c", PEERS], capture_output=True, text=True, check=True)
        for name, rate in json.loads(done.stdout.splitlines()[-1]).items():
            shown = rate if isinstance(rate, str) else f"{rate:12,.0f} steps/s"
            print(f"{name:24} {shown}")
    for id in ("tools/shop-v0", "games/grid-world-v0", "tools/multi-hop-v0"):
        print(f"{id:24} {live_memory(id):12,.0f} MiB for 2,000 live episodes (asked: 2,048)")
    print(f"{'whole process':24} {resident_mib():12,.0f} MiB")


if __name__ == "__main__":
    main()
