"""Count what rollouts cost beside their engine: turns a second, memory, overhead, and a peer.

Run: ``python benchmarks/rollouts.py [--peer PYTHON] [--vllm PYTHON]``

- scripted: 2,000 live episodes of 8 turns (7 calls of a tool, then an answer) with an engine that
  says what a script says, in one thread: turns a second of CPU time, the best of three runs, and
  the memory that an episode adds. Once with the quickstart's chat template, once with Qwen3's.
- overhead: 256 episodes of 4 turns, all at once, each turn of 64 tokens that an engine draws, and
  then exactly the same requests straight to the engine, each as soon as the one before it ended.
  For TransformersEngine, which shares our process, by CPU time; for vLLM (``--vllm``: a Python that
  has it) by wall time, since it serves in processes of its own.
- peer: 64 rollouts of the scripted kind, 32 at once, at one chat server over HTTP, played by our
  driver with ChatEndpoint and by ``verifiers`` 0.1.14 (``--peer``: a Python that has it): CPU time
  of the client's process for one rollout, best of three.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proofgym.agents import Assignment, Driver, Engine, EnginePolicy, RenderConfig, Renderer
from proofgym.agents.chat_endpoint import ChatEndpoint, ChatEndpointConfig
from proofgym.agents.engine import Completion, Finish
from proofgym.agents.policy import Policy
from proofgym.agents.scripted_engine import ScriptedEngine
from proofgym.agents.tiny_policy import TinyPolicyConfig, build_tiny_policy, tiny_tokenizer
from proofgym.envs import Env, Episode, Limits, Sampling, listed, tool
from proofgym.verifiers import Task, assistant, pattern, tool_call, user

HERE = Path(__file__).parent
TURNS, LIVE, RUNS = 8, 2_000, 3
DRAWN, TALKS, AT_ONCE = 64, 256, 256
ROLLOUTS, CONCURRENT = 64, 32
TASKS = [Task(id=f"t{i}", prompt=f"Look up item {i} and say its value.") for i in range(64)]


@tool
def look(key: str) -> str:
    """Look something up.

    Args:
        key: what.
    """
    return f"value of {key} is 42"


class LookUp(Env):
    """Call a tool, then answer."""

    system = "You look things up with a tool before you answer."
    tasks = listed(TASKS, heldout=0.0)
    tools = (look,)
    rubric = pattern("42", whole=False)
    limits = Limits(turns=10, tool_calls=10, tokens=10**6, seconds=10**6)


class Talk(Env):
    """Say something four times."""

    tasks = listed(TASKS, heldout=0.0)
    limits = Limits(turns=4, tool_calls=0, tokens=10**6, seconds=10**6)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Ask for more."""
        if self.episode.turns == 4:
            return "done", 1.0, True, False, {"solved": True}
        return "Go on, please, with one more sentence.", 0.0, False, False, {}


def quickstart() -> Renderer:
    """Make the renderer of the quickstart's template."""
    return Renderer(tiny_tokenizer(["look", '{"key": "']))


def qwen3() -> Renderer:
    """Make a renderer of Qwen3's template, with a byte tokenizer that has its special tokens."""
    tokenizer = tiny_tokenizer(["look", '{"key": "'])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(["<think>", "</think>", "<tool_call>", "</tool_call>"])
    tokenizer.eos_token = "<|im_end|>"
    template = HERE.parent / "tests" / "agents" / "templates" / "qwen3.jinja"
    return Renderer(tokenizer, RenderConfig(chat_template=template))


async def played(make: Callable[[], Env], policy: Policy, count: int, live: int) -> list[Episode]:
    """Play so many episodes."""
    work = [Assignment(task=TASKS[i % len(TASKS)], seed=i, group=i // 8) for i in range(count)]
    return await Driver(make, policy, max_live=live).run(work)


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def scripted(name: str, renderer: Renderer) -> None:
    """Print turns a second, and the memory of an episode."""
    opening = renderer.open([user("x")], [look.signature.schema])
    call = opening.scripted(assistant("", tool_call("look", key="alpha")))
    last = [*renderer.encode("The value is 42."), renderer.stop_id]

    def draw(prompt: list[int], drawn: int, sampling: Sampling, seed: int) -> int:
        # every episode is the same script, so that a prompt's length tells the turn
        return (last if len(prompt) >= longest else call)[drawn]

    longest = 10**9
    engine = ScriptedEngine(draw, vocab_size=10**6, max_context=10**6, slots=LIVE)
    policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
    one = asyncio.run(played(LookUp, policy, 1, 1))[0]
    before_last = one.turns[: TURNS - 1]
    longest = sum(len(turn.prompt_ids) + len(turn.ids) for turn in before_last)
    rates, memory = [], 0.0
    for _ in range(RUNS):
        before, started = resident_mib(), time.process_time()
        episodes = asyncio.run(played(LookUp, policy, LIVE, LIVE))
        spent = time.process_time() - started
        memory = max(memory, resident_mib() - before)
        turns = sum(len(episode.turns) for episode in episodes)
        assert turns == LIVE * TURNS
        assert all(episode.solved for episode in episodes)
        rates.append(turns / spent)
        del episodes
    shown = f"{memory * 1024 / LIVE:,.0f} KiB an episode"
    print(f"scripted, {name:28} {max(rates):8,.0f} turns/s (asked: 5,000), {shown} (asked: 1,024)")


@dataclass
class Spoken:
    """An engine whose draws count, but whose words are a script's, so that episodes go on."""

    engine: Engine
    words: list[int]
    stop: int

    @property
    def max_context(self) -> int:
        """As the engine's."""
        return self.engine.max_context

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Let the engine draw, and say the script's words."""
        endless = replace(sampling, stop_ids=())
        drawn = await self.engine.generate(prompt_ids, endless, seed, priority=priority)
        ids = np.array([*self.words[: len(drawn.ids) - 1], self.stop], dtype=np.int32)
        return replace(drawn, ids=ids, finish=Finish.STOP)


def requests_of(episode: Episode) -> list[tuple[list[int], Sampling, int]]:
    """Return what an episode asked of its engine."""
    ids: list[int] = []
    asked = []
    for turn in episode.turns:
        ids = [*ids, *turn.prompt_ids.tolist()]
        asked.append((ids, replace(turn.sampling, stop_ids=()), turn.seed))
        ids = [*ids, *turn.ids.tolist()]
    return asked


async def straight(engine: Engine, episodes: Sequence[Episode]) -> None:
    """Ask the engine the same again, without a driver, as many episodes at once."""
    waiting = iter([requests_of(episode) for episode in episodes])

    async def ask() -> None:
        for requests in waiting:
            for ids, sampling, seed in requests:
                await engine.generate(ids, sampling, seed)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(ask())


async def overhead(
    name: str, engine: Engine, renderer: Renderer, clock: Callable[[], float], runs: int
) -> None:
    """Print the driver's share beside the engine's own throughput."""
    words = renderer.encode("I say one more sentence about it, and then another one. " * 4)
    spoken: Any = Spoken(engine, words, renderer.stop_id)
    policy = EnginePolicy(spoken, renderer, Sampling(max_tokens=DRAWN))
    ours, theirs = [], []
    for number in range(runs):
        if clock is time.process_time:
            await engine.load({}, number)  # drops what the next run could reuse
        started = clock()
        episodes = await played(Talk, policy, TALKS, AT_ONCE)
        between = clock()
        assert all(len(episode.turns) == 4 for episode in episodes), episodes[0].fault
        if clock is time.process_time:
            await engine.load({}, number)
        again = clock()
        await straight(engine, episodes)
        ours.append(between - started)
        theirs.append(clock() - again)
    tokens = TALKS * 4 * DRAWN
    best, alone = min(ours), min(theirs)
    kind = "CPU" if clock is time.process_time else "wall"
    print(
        f"overhead, {name:28} {tokens / best:8,.0f} tokens/s, alone {tokens / alone:,.0f}: "
        f"{100 * (best / alone - 1):.1f}% of {kind} time (asked: 5%)"
    )


def in_process() -> None:
    """Measure TransformersEngine."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from proofgym.agents.transformers_engine import TransformersEngine

    renderer = quickstart()
    for size, hidden, layers in (("0.5 M", 128, 2),):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(renderer.tokenizer), hidden_size=hidden, num_hidden_layers=layers,
                intermediate_size=3 * hidden, num_attention_heads=hidden // 32, head_dim=32,
                num_key_value_heads=hidden // 32, tie_word_embeddings=True,
                max_position_embeddings=1024,
            )
        ).eval()  # fmt: skip
        engine = TransformersEngine(model, max_slots=AT_ONCE, max_context=1024)
        asyncio.run(
            overhead(f"TransformersEngine {size}", engine, renderer, time.process_time, RUNS)
        )


def with_vllm(python: str, runs: int) -> None:
    """Measure vLLM, with the quickstart's policy."""
    from transformers import AutoTokenizer

    from proofgym.agents.vllm_engine import LaunchConfig, VLLMConfig, VLLMEngine

    async def measure(folder: Path) -> None:
        launch = LaunchConfig(python=python, slots=AT_ONCE)
        engine = VLLMEngine(VLLMConfig(launch=launch), model=folder)
        try:
            await engine.start()
            renderer = Renderer(AutoTokenizer.from_pretrained(folder))
            await overhead("VLLMEngine 0.5 M", engine, renderer, time.perf_counter, runs)
        finally:
            await engine.close()

    with tempfile.TemporaryDirectory() as folder:
        config = TinyPolicyConfig(max_context=1024)
        build_tiny_policy(Path(folder), config, words=(), seed=0)
        asyncio.run(measure(Path(folder)))


@contextlib.contextmanager
def chat_server() -> Iterator[str]:
    """Start the server of scripted replies; yield its URL."""
    command = [sys.executable, str(HERE / "chat_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        yield f"http://127.0.0.1:{one.stdout.readline().strip()}/v1"
        one.stdin.close()


async def by_chat(url: str, count: int, live: int) -> None:
    """Play at the chat server."""
    config = ChatEndpointConfig(
        base_url=url, model="policy", max_tokens=64, concurrency=live, max_concurrency=live
    )
    endpoint = ChatEndpoint(config)
    episodes = await played(LookUp, endpoint, count, live)
    await endpoint.close()
    assert all(episode.solved for episode in episodes), episodes[0]


def beside(peer: str | None) -> None:
    """Print the CPU time of a rollout, ours and the peer's."""
    with chat_server() as url:
        asyncio.run(by_chat(url, 16, 16))
        spent = []
        for _ in range(RUNS):
            started = time.process_time()
            asyncio.run(by_chat(url, ROLLOUTS, CONCURRENT))
            spent.append(time.process_time() - started)
        ours = min(spent) / ROLLOUTS
        print(
            f"peer, {'proofgym ChatEndpoint':32} {ours * 1e3:8.2f} ms of CPU a rollout of 8 turns"
        )
        if peer is None:
            return
        script = str(HERE / "verifiers_rollouts.py")  # -I: benchmarks/verifiers.py is not it
        command = [peer, "-I", script, url, str(ROLLOUTS), str(CONCURRENT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"peer: {done.stderr.strip().splitlines()[-1]}")
            return
        found = json.loads(done.stdout.splitlines()[-1])
        assert (found["rollouts"], found["reward"]) == (ROLLOUTS, 1.0), found
        theirs = found["cpu_s"] / ROLLOUTS
        shown = f"{theirs / ours:.1f} times ours (asked: 5)"
        print(f"peer, {found['name']:32} {theirs * 1e3:8.2f} ms of CPU a rollout, {shown}")


def main() -> None:
    """Print one line for each number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="a Python with verifiers 0.1.14")
    parser.add_argument("--vllm", help="a Python with vLLM")
    parser.add_argument("--vllm-runs", type=int, default=RUNS, help="fewer on a slow machine")
    parser.add_argument("--only", choices=["scripted", "overhead", "vllm", "peer"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Python {platform.python_version()}, {platform.machine()}, torch {torch.__version__}")
    parts: dict[str, Callable[[], object]] = {
        "scripted": lambda: [
            scripted(n, r()) for n, r in (("quickstart", quickstart), ("Qwen3", qwen3))
        ],
        "overhead": in_process,
        "vllm": lambda: with_vllm(options.vllm, options.vllm_runs) if options.vllm else None,
        "peer": lambda: beside(options.peer),
    }
    for name, measure in parts.items():
        if options.only in (None, name):
            measure()


if __name__ == "__main__":
    main()
