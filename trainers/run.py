"""One run from beginning to end: stages, evaluations, checkpoints; the same call resumes it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from proofgym.agents import (
    Driver,
    Engine,
    EnginePolicy,
    EvalReport,
    Rate,
    Renderer,
    evaluate,
    report_on,
    write_episodes,
)
from proofgym.agents.tiny_policy import build_tiny_policy
from proofgym.envs import Env, Episode, Sampling, derive, environment_class
from proofgym.trainers.demonstrations import Demonstrations
from proofgym.trainers.engines import EngineHost
from proofgym.trainers.errors import StoppedError
from proofgym.trainers.learner import Learner
from proofgym.trainers.metrics import MetricsWriter
from proofgym.trainers.policy import Policy, load_policy
from proofgym.trainers.rl import rl_step
from proofgym.trainers.run_config import BASE, PretrainedModel, RlConfig, RunConfig, SftConfig
from proofgym.trainers.run_folder import Position, RunFolder
from proofgym.trainers.sft import sft_step


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
        self.host = EngineHost(config.engine)
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
        keep = positions[-1][0].metrics_lines if positions else 0
        metrics = MetricsWriter(self.folder.metrics, keep)
        finished = {position.stage for position, _ in positions if position.finished}
        try:
            if not finished and not positions:
                await self._evaluate_base(metrics)
            for name, stage in self.config.stages.items():
                if name not in finished:
                    await StageRun(self, name, stage, metrics).execute()
        finally:
            metrics.close()
            await self.host.close()

    async def _evaluate_base(self, metrics: MetricsWriter) -> None:
        await self.evaluate(BASE, self.load(None), metrics)

    def load(self, weights: Path | None) -> Policy:
        """Load a checkpoint's policy, or the one that the run starts from."""
        return load_policy(weights or self._initial_folder(), self.device)

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

    def driver(self, engine: Engine, policy: Policy, sampling: Sampling) -> Driver:
        """Make a driver that plays this run's environment with an engine."""
        renderer = Renderer(policy.tokenizer)
        return Driver(self.environment, EnginePolicy(engine, renderer, sampling))

    async def evaluate(
        self, stage: str, policy: Policy, metrics: MetricsWriter, *, version: int = 0
    ) -> None:
        """Measure a policy on held-out tasks, the same ones for every stage."""
        config = self.config.evaluation
        rng = np.random.default_rng(derive(self.config.seed, "held-out tasks"))
        tasks = [self.environment.tasks.sample("heldout", rng) for _ in range(config.tasks)]
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        driver = self.driver(await self.host.serve(policy, version), policy, sampling)
        started = time.perf_counter()
        episodes = await evaluate(
            driver, tasks, attempts=config.attempts, seed=derive(self.config.seed, "evaluation")
        )
        report = report_on(episodes, seconds=time.perf_counter() - started)
        write_episodes(self.folder.episodes(f"eval-{stage}"), episodes)
        metrics.write({"kind": "evaluation", "stage": stage, **evaluation_record(report)})
        self.reporter.on_evaluation(stage, report)


class StageRun:
    """One stage of a run: its steps, checkpoints and closing evaluation."""

    def __init__(
        self, run: Run, name: str, config: SftConfig | RlConfig, metrics: MetricsWriter
    ) -> None:
        self.run = run
        self.name = name
        self.config = config
        self.metrics = metrics
        weights, optimizer_state, self.done = self._start()
        self.policy = run.load(weights)
        updates = config.steps * (config.updates if isinstance(config, RlConfig) else 1)
        self.learner = Learner(self.policy.model, config.optimizer, total_steps=updates)
        if optimizer_state is not None:
            self.learner.load_state_dict(torch.load(optimizer_state, weights_only=True))

    async def execute(self) -> None:
        """Take the stage's remaining steps, then measure and publish its policy."""
        run, total = self.run, self.config.steps
        done = self.done
        run.reporter.on_stage(self.name, self.config.kind, done, total)
        take_step = await self._stepper()
        for step in range(done, total):
            await asyncio.sleep(0)  # lets a signal handler in
            if run.stop_requested:
                self._checkpoint(finished=False)
                raise StoppedError(f"stopped before step {step + 1} of stage {self.name}")
            await take_step(step)
            self.done = step + 1  # not the learner's count: a step may have no update, or many
            if (step + 1) % run.config.checkpoint_every == 0 and step + 1 < total:
                self._checkpoint(finished=False)
        version = self.learner.step_number
        await run.evaluate(self.name, self.policy, self.metrics, version=version)
        self._checkpoint(finished=True)

    def _start(self) -> tuple[Path | None, Path | None, int]:
        """Find the weights, the optimiser's state and the steps done to begin with.

        They are this stage's own checkpoint, or the weights of its ``init``.
        """
        own = [one for one in self.run.folder.positions() if one[0].stage == self.name]
        if own:
            position, folder = own[-1]
            return folder, folder / "optimizer.pt", position.step
        if self.config.init is not None:
            return self.run.folder.weights_of(self.config.init), None, 0
        return None, None, 0

    async def _stepper(self) -> Callable[[int], Any]:
        if isinstance(self.config, SftConfig):
            return self._sft(self.config)
        return await self._rl(self.config)

    def _sft(self, config: SftConfig) -> Callable[[int], Any]:
        renderer = Renderer(self.policy.tokenizer)
        demonstrations = Demonstrations(self.run.environment, renderer, config)

        async def step(number: int) -> None:
            parts = (self.run.config.seed, self.name, number)
            started = time.perf_counter()
            report = await sft_step(self.learner, demonstrations, config, *parts)
            seconds = time.perf_counter() - started
            cost = {
                "tokens/trained": report.tokens,
                "tok_s/train": report.tokens / report.seconds,
                "time/train": report.seconds,
                "time/step": seconds,
            }
            self._log(number, {**report.metrics, **cost})

        return step

    async def _rl(self, config: RlConfig) -> Callable[[int], Any]:
        run = self.run
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        engine = await run.host.serve(self.policy, self.learner.step_number)
        driver = run.driver(engine, self.policy, sampling)

        async def publish(version: int) -> None:
            await run.host.publish(self.policy, version)

        async def step(number: int) -> None:
            started = time.perf_counter()
            parts = (run.config.seed, self.name, number)
            done = await rl_step(
                self.learner,
                driver,
                publish,
                run.environment,
                config,
                *parts,
                on_episode=run.reporter.on_episode,
            )
            if number % run.config.episodes_every == 0:
                write_episodes(run.folder.episodes(f"{self.name}-{number + 1:06d}"), done.episodes)
            self._log(number, {**done.metrics, "time/step": time.perf_counter() - started})

        return step

    def _log(self, number: int, metrics: Mapping[str, float]) -> None:
        record = {"kind": "step", "stage": self.name, "step": number + 1, **metrics}
        self.metrics.write(record)
        self.run.reporter.on_step(self.name, number + 1, self.config.steps, metrics)

    def _checkpoint(self, *, finished: bool) -> None:
        part = self.run.folder.scratch()
        self.policy.model.save_pretrained(part)
        self.policy.tokenizer.save_pretrained(part)
        torch.save(self.learner.state_dict(), part / "optimizer.pt")
        position = Position(
            stage=self.name,
            step=self.done,
            finished=finished,
            metrics_lines=self.metrics.lines,
        )
        self.run.folder.publish(part, position)


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


def evaluation_record(report: EvalReport) -> dict[str, Any]:
    """Flatten an evaluation for the metrics' file."""
    record: dict[str, Any] = {
        "pass@1": _rate(report.pass_at_1),
        "reward/mean": report.reward_mean,
        "unscored": report.unscored,
        "stops": dict(report.stops),
        "sampled_tokens": report.sampled_tokens,
        "seconds": report.seconds,
    }
    for name, level in report.levels.items():
        record[f"pass@1/{name}"] = _rate(level.pass_at_1)
        record[f"tools/call_rate/{name}"] = _rate(level.call_rate)
    return record


def _rate(rate: Rate) -> dict[str, float]:
    return asdict(rate)
