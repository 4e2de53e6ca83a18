"""One stage of a run: its steps, checkpoints and closing evaluation."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from proofgym.agents import Assignment, Renderer, write_episodes
from proofgym.envs import Episode, Sampling, derive
from proofgym.trainers.checkpoint import read_optimizer, write_checkpoint
from proofgym.trainers.demonstrations import Demonstrations
from proofgym.trainers.errors import MonitorError, StoppedError
from proofgym.trainers.evaluation_record import evaluation_record
from proofgym.trainers.learner import Learner
from proofgym.trainers.ledger import Ledger, LedgerPosition
from proofgym.trainers.metrics import MetricsWriter, read_metrics
from proofgym.trainers.monitors import Finding, Monitors, corrected
from proofgym.trainers.rl import draw_assignments, rl_step, solved_tasks
from proofgym.trainers.rollouts import Rollouts
from proofgym.trainers.run_config import RlConfig, SftConfig
from proofgym.trainers.run_folder import Position
from proofgym.trainers.sft import sft_step
from proofgym.trainers.step_bundle import Recorder
from proofgym.trainers.value_head import ValueHead

if TYPE_CHECKING:
    from proofgym.trainers.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What a run writes down as it goes: numbers, and what became of every rollout."""

    metrics: MetricsWriter
    ledger: Ledger

    def close(self) -> None:
        """Put everything on the disk."""
        self.metrics.close()
        self.ledger.close()


class Steps(Protocol):
    """How a kind of stage takes its steps."""

    async def take(self, step: int) -> Mapping[str, float]:
        """Take the step that so many came before, and return its metrics."""
        ...

    def see(self, record: Mapping[str, Any]) -> list[Finding]:
        """Let the stage's monitors look at a record, and apply what they correct."""
        ...

    async def close(self) -> None:
        """Give up what is in flight."""
        ...


class StageRun:
    """One stage of a run.

    Args:
        run: whose stage it is.
        name: the stage's.
        config: the stage's.
        records: where its numbers go.

    Raises:
        CheckpointError: what it starts from is damaged, or of another architecture.
    """

    def __init__(
        self, run: "Run", name: str, config: SftConfig | RlConfig, records: Records
    ) -> None:
        self.run = run
        self.name = name
        self.config = config
        self.records = records
        folder = run.folder
        own = [one for one in folder.positions() if one[0].stage == name]
        self.done = own[-1][0].step if own else 0
        init = folder.weights_of(config.init) if config.init is not None else None
        adapted = config.learner.adapter.kind != "none"  # checkpoints hold the merged weights
        self.policy = run.load(own[-1][1] if own and not adapted else init)
        updates = config.steps * (config.updates if isinstance(config, RlConfig) else 1)
        critic: ValueHead | None = None
        self.reference: nn.Module | None = None
        if isinstance(config, RlConfig):
            critic = config.critic if isinstance(config.critic, ValueHead) else None
            if config.kl.beta > 0:  # what the stage started from, also where it is resumed
                self.reference = run.load(init).model.requires_grad_(False)
        self.learner = Learner(
            self.policy.model,
            config.optimizer,
            total_steps=updates,
            critic=critic,
            config=config.learner,
        )
        if own:
            read_optimizer(own[-1][1], self.learner)

    async def execute(self) -> None:
        """Take the stage's remaining steps, then measure and publish its policy."""
        run, total = self.run, self.config.steps
        run.reporter.on_stage(self.name, self.config.kind, self.done, total)
        steps = await self._steps()
        try:
            for step in range(self.done, total):
                await asyncio.sleep(0)  # lets a signal handler in
                if run.stop_requested:
                    self._checkpoint(finished=False)
                    raise StoppedError(f"stopped before step {step + 1} of stage {self.name}")
                torch.manual_seed(derive(run.config.seed, "dropout", self.name, step))
                started = time.perf_counter()
                metrics = {**await steps.take(step), "time/step": time.perf_counter() - started}
                self.done = step + 1  # not the learner's count: a step may have no update, or many
                await self._log(step, metrics, steps)
                if (step + 1) % run.config.checkpoint_every == 0 and step + 1 < total:
                    self._checkpoint(finished=False)
        finally:
            await steps.close()
        await run.evaluate(self.name, self.policy, self.records.metrics, version=total)
        self._checkpoint(finished=True)

    async def _steps(self) -> Steps:
        if isinstance(self.config, SftConfig):
            return SftSteps(self, self.config)
        return await RlSteps.start(self, self.config)

    async def _log(self, step: int, metrics: Mapping[str, float], steps: Steps) -> None:
        """Write a step down, and let the monitors look at it."""
        self.records.ledger.commit()
        record = {"kind": "step", "stage": self.name, "step": step + 1, **metrics}
        findings = steps.see(self.records.metrics.write(record))
        self.run.reporter.on_step(self.name, step + 1, self.config.steps, metrics)
        every = self.run.config.evaluation.every
        if self.config.kind == "rl" and every and (step + 1) % every == 0:
            report, _ = await self.run.measure(self.policy, version=step + 1)
            place = {"kind": "heldout", "stage": self.name, "step": step + 1}
            record = {**place, **evaluation_record(report)}
            findings += steps.see(self.records.metrics.write(record))
        for finding in findings:
            self.records.metrics.write({"kind": "finding", "stage": self.name, **asdict(finding)})
            self.run.reporter.on_finding(self.name, finding)
        stops = [finding for finding in findings if finding.action == "stop"]
        if stops:
            self._checkpoint(finished=False)
            raise MonitorError(
                f"stage {self.name}, step {step + 1}: {' '.join(map(str, stops))} The same "
                "command goes on all the same."
            )

    def _checkpoint(self, *, finished: bool) -> None:
        ledger = self.records.ledger
        ledger.commit()
        part = self.run.folder.scratch()
        write_checkpoint(part, self.policy, self.learner)
        position = Position(
            stage=self.name,
            step=self.done,
            finished=finished,
            metrics_lines=self.records.metrics.lines,
            ledger=LedgerPosition(
                issued=ledger.issued_before(self.name, self.done), ended=ledger.position.ended
            ),
        )
        self.run.folder.publish(part, position)


class SftSteps:
    """Steps on demonstrations."""

    def __init__(self, stage: StageRun, config: SftConfig) -> None:
        self.stage = stage
        self.config = config
        renderer = Renderer(stage.policy.tokenizer, stage.run.config.rendering)
        self.demonstrations = Demonstrations(stage.run.environment, renderer, config)

    async def take(self, step: int) -> Mapping[str, float]:
        """Draw a batch and descend."""
        stage = self.stage
        parts = (stage.run.config.seed, stage.name, step)
        report = await sft_step(stage.learner, self.demonstrations, self.config, *parts)
        return {
            **report.metrics,
            "tokens/trained": report.tokens,
            "tok_s/train": report.tokens / report.seconds,
            "time/train": report.seconds,
        }

    def see(self, record: Mapping[str, Any]) -> list[Finding]:
        """Nothing watches demonstrations."""
        return []

    async def close(self) -> None:
        """Nothing is in flight."""


class RlSteps:
    """Steps on rollouts."""

    def __init__(self, stage: StageRun, config: RlConfig, rollouts: Rollouts) -> None:
        self.stage = stage
        self.config = config
        self.rollouts = rollouts
        self.monitors = Monitors(config.monitors)
        self.retired: set[str] = set()
        self._open = AsyncExitStack()

    @classmethod
    async def start(cls, stage: StageRun, config: RlConfig) -> "RlSteps":
        """Make an engine that has the learner's weights, and go on where the ledger stands."""
        run, done, ledger = stage.run, stage.done, stage.records.ledger

        steps: RlSteps

        def draw(step: int, extra_round: int) -> list[Assignment]:
            return draw_assignments(
                run.environment,
                config,
                run.config.seed,
                stage.name,
                step,
                extra_round=extra_round,
                retired=steps.retired,
            )

        def on_issue(step: int, assignments: Sequence[Assignment]) -> None:
            ledger.issue(stage.name, step, assignments)

        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        engine = await run.host.serve(stage.policy, done)
        async with AsyncExitStack() as stack:
            playing = run.playing(engine, stage.policy, sampling)
            rollouts = Rollouts(
                await stack.enter_async_context(playing),
                draw,
                first=done,
                total=config.steps,
                staleness=config.staleness,
                late=config.late,
                on_issue=on_issue,
                on_episode=run.reporter.on_episode,
            )
            stack.push_async_callback(rollouts.close)
            steps = cls(stage, config, rollouts)
            for record in read_metrics(run.folder.metrics):
                if record["stage"] == stage.name:  # of the steps before this run was interrupted
                    steps.see(record)
                    steps.retired.update(record.get("retired_tasks", ()))
            for group in ledger.open_groups(stage.name):  # late ones, of steps that are done
                step = group // config.prompts
                rollouts.replay(step, [one for one in draw(step, 0) if one.group == group])
            steps._open = stack.pop_all()
        return steps

    async def take(self, step: int) -> Mapping[str, float]:
        """Wait for the step's batch and descend; write down what became of each rollout."""
        stage, run = self.stage, self.stage.run

        async def publish(version: int) -> None:
            await run.host.publish(stage.policy, version)

        every = run.config.bundles_every
        keep = bool(every) and (step + 1) % every == 0
        recorder = Recorder(run.folder.path / "bundles", stage.name, step, keep=keep)
        done = await rl_step(
            stage.learner,
            self.rollouts,
            publish,
            self.config,
            step,
            recorder,
            reference=stage.reference,
        )
        stage.records.ledger.end(stage.name, step, done.endings)
        self._retire(done.episodes, step)
        if step % run.config.episodes_every == 0:
            path = run.folder.episodes(f"{stage.name}-{step + 1:06d}")
            write_episodes(path, done.episodes)
        return done.metrics

    def _retire(self, episodes: Sequence[Episode], step: int) -> None:
        """Take tasks that are solved out of the draw, and write them down for a resumed run."""
        if self.config.retire_solved is None:
            return
        solved = set(solved_tasks(episodes, self.config.retire_solved)) - self.retired
        self.retired |= solved
        if solved:
            place = {"kind": "retired", "stage": self.stage.name, "step": step + 1}
            self.stage.records.metrics.write({**place, "retired_tasks": sorted(solved)})

    def see(self, record: Mapping[str, Any]) -> list[Finding]:
        """Let the monitors look; the corrections hold from the next step on."""
        findings = self.monitors.see(record)
        if any(finding.correct for finding in findings):
            table = corrected(self.config.model_dump(), findings)
            self.config = RlConfig.model_validate(table)
        return findings

    async def close(self) -> None:
        """Give up the rollouts in flight; a resumed run plays them again."""
        await self._open.aclose()
