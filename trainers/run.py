"""One run from beginning to end: stages, evaluations, checkpoints; the same call resumes it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from proofgym.agents import (
    Driver,
    Engine,
    EnginePolicy,
    EvalReport,
    Renderer,
    evaluate,
    report_on,
    write_episodes,
)
from proofgym.agents.driver import Player
from proofgym.agents.gateway import playing_agent
from proofgym.agents.tiny_policy import build_tiny_policy
from proofgym.envs import Env, Episode, Sampling, derive, environment_class
from proofgym.trainers.engines import EngineHost
from proofgym.trainers.evaluation_record import evaluation_record
from proofgym.trainers.ledger import Ledger, check_ledger
from proofgym.trainers.metrics import MetricsWriter
from proofgym.trainers.monitors import Finding
from proofgym.trainers.policy import Policy, check_architecture, load_policy
from proofgym.trainers.run_config import BASE, PretrainedModel, RunConfig
from proofgym.trainers.run_folder import Position, RunFolder
from proofgym.trainers.stage import Records, StageRun


class Reporter(Protocol):
    """Whoever watches a run. Calls come from the run's own thread, and must return at once."""

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """A stage begins, or goes on at step ``done``."""
        ...

    def on_episode(self, episode: Episode) -> None:
        """A rollout of the current step ended."""
        ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """An optimiser step ended."""
        ...

    def on_evaluation(self, stage: str, report: EvalReport) -> None:
        """A stage's policy was measured on held-out tasks."""
        ...

    def on_finding(self, stage: str, finding: Finding) -> None:
        """A monitor saw something wrong."""
        ...


class Run:
    """A run and its folder.

    Args:
        config: the whole configuration.
        path: the run's folder; made where it is missing, resumed where it holds this run.
        reporter: watches.

    Raises:
        RunFolderError: the folder cannot be written, or holds another run.
        UnknownEnvError: the config's environment does not exist.
    """

    def __init__(self, config: RunConfig, path: Path, reporter: Reporter) -> None:
        self.config = config
        self.reporter = reporter
        self.environment: type[Env] = environment_class(config.environment)
        self.folder = RunFolder(path, config)
        self.device = pick_device(config.device)
        self.host = EngineHost(config.engine, self.folder.path / "servers")
        self.stop_requested = False
        if config.torch_threads:
            torch.set_num_threads(config.torch_threads)

    def request_stop(self) -> None:
        """Ask the run to end after the step it is in, saved."""
        self.stop_requested = True

    @property
    def finished(self) -> bool:
        """Whether every stage has ended."""
        done = {position.stage for position, _ in self.folder.positions() if position.finished}
        return done >= set(self.config.stages)

    def execute(self) -> None:
        """Do what is left of the run.

        Raises:
            StoppedError: a stop was requested; the same call later goes on from there.
            TrainError: the run cannot go on; its last checkpoint is whole.
        """
        asyncio.run(self._execute())

    async def _execute(self) -> None:
        positions = self.folder.positions()
        start = positions[-1][0] if positions else Position.start()
        finished = {position.stage for position, _ in positions if position.finished}
        records = Records(
            metrics=MetricsWriter(self.folder.metrics, start.metrics_lines),
            ledger=Ledger(self.folder.ledger, start.ledger),
        )
        try:
            if not positions:
                await self.evaluate(BASE, self.load(None), records.metrics)
            for name, stage in self.config.stages.items():
                if name not in finished:
                    await StageRun(self, name, stage, records).execute()
            check_ledger(self.folder.ledger)
        finally:
            records.close()
            await self.host.close()

    def load(self, weights: Path | None) -> Policy:
        """Load a checkpoint's policy, or the one that the run starts from.

        Raises:
            CheckpointError: it is damaged, or of another architecture than this run's.
        """
        original = self._initial_folder()
        if weights is not None:
            check_architecture(weights, original)
        return load_policy(weights or original, self.device)

    def _initial_folder(self) -> Path:
        model = self.config.model
        if isinstance(model, PretrainedModel):
            return Path(model.path)
        folder = self.folder.path / "checkpoints" / BASE
        if not (folder / "config.json").exists():
            part = self.folder.scratch()
            words = schema_words(self.environment().tool_schemas)
            build_tiny_policy(part, model, words=words, seed=derive(self.config.seed, "init"))
            part.rename(folder)
        return folder

    @asynccontextmanager
    async def playing(
        self, engine: Engine, policy: Policy, sampling: Sampling
    ) -> AsyncIterator[Player]:
        """Lend what plays this run's environment with an engine: a driver, or the run's agent.

        Raises:
            AgentError: the agent cannot be loaded.
        """
        renderer = Renderer(policy.tokenizer, self.config.rendering)
        acting = EnginePolicy(engine, renderer, sampling)
        if self.config.agent is None:
            yield Driver(self.environment, acting)
            return
        async with playing_agent(self.config.agent, acting, self.environment) as driver:
            yield driver

    async def evaluate(
        self, stage: str, policy: Policy, metrics: MetricsWriter, *, version: int = 0
    ) -> None:
        """Measure a stage's policy, and write its numbers and episodes."""
        report, episodes = await self.measure(policy, version=version)
        write_episodes(self.folder.episodes(f"eval-{stage}"), episodes)
        metrics.write({"kind": "evaluation", "stage": stage, **evaluation_record(report)})
        self.reporter.on_evaluation(stage, report)

    async def measure(
        self, policy: Policy, *, version: int = 0
    ) -> tuple[EvalReport, Sequence[Episode]]:
        """Measure a policy on held-out tasks, the same ones every time."""
        config = self.config.evaluation
        rng = np.random.default_rng(derive(self.config.seed, "held-out tasks"))
        tasks = [self.environment.tasks.sample("heldout", rng) for _ in range(config.tasks)]
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        seed = derive(self.config.seed, "evaluation")
        async with (
            self.host.measuring(policy, version) as engine,
            self.playing(engine, policy, sampling) as driver,
        ):
            started = time.perf_counter()
            episodes = await evaluate(driver, tasks, attempts=config.attempts, seed=seed)
        return report_on(episodes, seconds=time.perf_counter() - started), episodes


def pick_device(name: str) -> torch.device:
    """Turn ``auto`` into the GPU where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def schema_words(schemas: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the tools and their parameters, to be one token each."""
    words: list[str] = []
    for schema in schemas:
        function = schema["function"]
        words += [function["name"], *function["parameters"].get("properties", {})]
    return words
