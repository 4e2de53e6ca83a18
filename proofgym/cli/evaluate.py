"""``proofgym eval``: one policy on the tasks of one or more environments, resumable."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from proofgym.agents import (
    Assignment,
    ChatEndpoint,
    Deadlines,
    Driver,
    EvalReport,
    Policy,
    Rate,
    attempts_at,
    report_on,
)
from proofgym.agents.evaluation.folder import (
    AttemptKey,
    EvalFolder,
    EvalIdentity,
    key_of,
)
from proofgym.agents.finite_json import finite
from proofgym.agents.whole_file import write_whole
from proofgym.cli.eval_policy import PolicyRequest, apply_decoding, choose_policy
from proofgym.cli.eval_watch import EvalWatch
from proofgym.envs import (
    Blame,
    Env,
    Episode,
    Suite,
    derive,
    environment_class,
    lock_suite,
    locked_tasks,
    read_suite,
)
from proofgym.errors import UsageError

METHOD = "Wilson score, 95%, clustered by task"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """What to measure. The fields are the command's options."""

    env_ids: tuple[str, ...]
    suite: str | None
    policy: str
    model: str | None
    key_env: str
    price: str | None
    decode: str | None
    tasks: int
    attempts: int
    split: str
    seed: int
    temperature: float
    max_tokens: int | None
    device: str
    out: Path | None

    def __post_init__(self) -> None:
        for name, least in (("tasks", 1), ("attempts", 1), ("seed", 0), ("temperature", 0)):
            value = getattr(self, name)
            if value < least:
                raise UsageError(f"--{name} must be at least {least}, got {value}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"--max-tokens must be at least 1, got {self.max_tokens}.")
        if bool(self.env_ids) == (self.suite is not None):
            raise UsageError(
                "eval takes either environments or --suite, which is a list of families such as "
                "math,tools or a lock file."
            )

    @property
    def sampling(self) -> PolicyRequest:
        """The part that says which policy, and how it samples."""
        return PolicyRequest(
            name=self.policy,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            device=self.device,
            model=self.model,
            key_env=self.key_env,
            price=self.price,
            decode=self.decode,
        )


def run_evaluation(request: EvalRequest) -> int:
    """Measure what is not measured yet, print, and write; 1 where nothing could be scored."""
    suite = choose_suite(request)
    environments = [environment_class(entry.place) for entry in suite.environments]
    policies = choose_policy(request.sampling, environments)
    folder = open_folder(request, suite)
    tasks = locked_tasks(suite)
    measured = {key_of(one) for one in folder.episodes() if not _lost(one)}
    started = time.perf_counter()
    total = sum(len(drawn) for drawn in tasks.values()) * request.attempts
    with EvalWatch(total, done=len(measured)) as watch:

        def took(episode: Episode) -> None:
            folder.add(episode)
            watch.count(episode)

        for entry, environment in zip(suite.environments, environments, strict=True):
            watch.begin(entry.id)
            seed = derive(request.seed, "evaluation")
            todo = [
                one
                for one in attempts_at(tasks[entry.id], attempts=request.attempts, seed=seed)
                if AttemptKey(environment.id, one.group, one.rollout) not in measured
            ]
            policy = policies(environment)
            decoded = apply_decoding(request.sampling, policy)
            try:
                asyncio.run(_play(environment, policy, decoded, todo, took))
            finally:
                folder.flush()
    seconds = time.perf_counter() - started
    episodes = [one for one in folder.finish() if one.rollout < request.attempts]
    report = report_on(episodes, seconds=seconds)
    parts = by_environment(suite, episodes, environments)
    summary = summary_of(request, suite, report, parts)
    if isinstance(policy, ChatEndpoint):
        summary["endpoint"] = endpoint_facts(policy)
    write_whole(
        folder.path / "summary.json", (json.dumps(finite(summary), indent=2) + "\n").encode()
    )
    from proofgym.report.eval_page import write_eval_report

    write_eval_report(folder.path, summary, parts, episodes)
    _print(request, suite, report, parts, episodes)
    if isinstance(policy, ChatEndpoint):
        Console(highlight=False).print(_endpoint_line(policy), soft_wrap=True, markup=False)
    Console().print(f"Report: {folder.path / 'report.html'}", soft_wrap=True, markup=False)
    return 0 if report.pass_at_1.attempts else 1


async def _play(
    environment: type[Env],
    policy: Policy,
    decoded: Policy,
    todo: Sequence[Assignment],
    took: Callable[[Episode], None],
) -> None:
    if not isinstance(policy, ChatEndpoint):
        await Driver(environment, decoded).run(todo, took)
        return
    # as many as the server may take: more would only wait, with their sandboxes open
    config = policy.config
    deadlines = Deadlines(generate=2 * config.deadline_s)
    driver = Driver(environment, decoded, max_live=config.max_concurrency, deadlines=deadlines)
    try:
        await driver.run(todo, took)
    finally:
        await policy.close()


def endpoint_facts(endpoint: ChatEndpoint) -> dict[str, Any]:
    """Say what this command asked of a server: requests, tokens, and dollars where known."""
    cost = endpoint.usage.cost(endpoint.config.price)
    return {**asdict(endpoint.usage), "cost_usd": cost, "concurrency": int(endpoint.limit.limit)}


def _endpoint_line(endpoint: ChatEndpoint) -> str:
    usage, cost = endpoint.usage, endpoint.usage.cost(endpoint.config.price)
    spent = "cost unknown (--price)" if cost is None else f"${cost:.4f}"
    missing = f"; {usage.uncounted} replies without counts" if usage.uncounted else ""
    return (
        f"endpoint  {usage.requests} requests ({usage.retries} retries, {usage.rate_limited} rate "
        f"limited), {usage.prompt_tokens:,} prompt + {usage.completion_tokens:,} completion "
        f"tokens{missing}, {spent}"
    )


def choose_suite(request: EvalRequest) -> Suite:
    """Lock the tasks that were asked for, or read the file that locks them."""
    if request.suite is not None and request.suite.endswith(".json"):
        return read_suite(Path(request.suite))
    names = request.env_ids or tuple(filter(None, (request.suite or "").split(",")))
    return lock_suite(names, tasks=request.tasks, split=request.split, seed=request.seed)


def open_folder(request: EvalRequest, suite: Suite) -> EvalFolder:
    """Open the evaluation's folder; without --out its name says what is measured, and how."""
    identity = EvalIdentity(
        suite=suite.digest,
        policy=request.sampling.label,
        weights=request.sampling.weights,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
        seed=request.seed,
    )
    path = request.out
    if path is None:
        words = f"{Path(suite.name).name if ':' in suite.name else suite.name}-{request.policy}"
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", words).strip("-.")[-80:]
        digest = derive(*(str(value) for value in asdict(identity).values())) % 16**8
        path = Path("runs") / "eval" / f"{slug}-{digest:08x}"
    return EvalFolder(path, suite, identity)


def by_environment(
    suite: Suite, episodes: Sequence[Episode], environments: Sequence[type[Env]]
) -> dict[str, EvalReport]:
    """Sum up each environment's attempts."""
    parts: dict[str, EvalReport] = {}
    for environment in environments:
        own = [one for one in episodes if one.env_id == environment.id]
        parts[environment.id] = report_on(own, seconds=sum(one.seconds for one in own))
    return parts


def summary_of(
    request: EvalRequest, suite: Suite, report: EvalReport, parts: Mapping[str, EvalReport]
) -> dict[str, Any]:
    """Put what was measured, and how, into one JSON object."""
    return {
        "proofgym": version("proofgym"),
        "suite": suite.name,
        "suite_digest": suite.digest,
        "policy": request.sampling.label,
        "split": suite.split.value,
        "tasks": {entry.id: len(entry.tasks) for entry in suite.environments},
        "attempts": request.attempts,
        "seed": request.seed,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "interval": METHOD,
        "report": asdict(report),
        "environments": {name: asdict(part) for name, part in parts.items()},
    }


def _lost(episode: Episode) -> bool:
    """Whether an attempt must be made again: no fault of the policy or the environment."""
    return episode.fault is not None and episode.fault.blame is Blame.INFRASTRUCTURE


def _print(
    request: EvalRequest,
    suite: Suite,
    report: EvalReport,
    parts: Mapping[str, EvalReport],
    episodes: Sequence[Episode],
) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]pass@1 {report.pass_at_1}[/bold]  ({METHOD})", soft_wrap=True)
    tasks = sum(len(entry.tasks) for entry in suite.environments)
    how = f"temperature {request.temperature:g}, seed {request.seed}"
    console.print(
        f"{suite.name}, {request.sampling.label}, {tasks} {suite.split.value} tasks "
        f"({report.pass_at_1.tasks} distinct) x {request.attempts}, {how}",
        soft_wrap=True,
        markup=False,
    )
    if len(parts) > 1:
        console.print(_environments(parts))
    if report.levels:
        console.print(_levels(report))
    if report.at_k:
        console.print(_at_k(report))
    tokens = report.sampled_tokens
    speed = f" ({tokens / report.seconds:,.0f}/s)" if tokens else ""
    bounds = f"; pass@1 within [{report.bounds.low:.3f}, {report.bounds.high:.3f}]"
    facts = {
        "reward": f"{report.reward_mean:.3f}",
        "stops": ", ".join(f"{name} {count}" for name, count in sorted(report.stops.items())),
        "unscored": f"{report.unscored} (left out of every rate"
        + (f"{bounds} whatever they were)" if report.unscored else ")"),
        "truncated": str(report.truncated),
        "tokens": f"{tokens:,} sampled{speed}",
        "seconds": f"{report.seconds:.1f}",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
    reasons = Counter(_why(one) for one in episodes if not one.scored)
    for reason, count in reasons.most_common(3):
        console.print(f"unscored {count} x: {reason}", soft_wrap=True, markup=False)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading)
    return table


def _environments(parts: Mapping[str, EvalReport]) -> Table:
    table = _table("environment", "pass@1", "reward", "unscored", "truncated", "attempts")
    for name, part in parts.items():
        counts = (part.unscored, part.truncated, part.pass_at_1.attempts)
        table.add_row(name, str(part.pass_at_1), f"{part.reward_mean:.3f}", *map(str, counts))
    return table


def _levels(report: EvalReport) -> Table:
    table = _table("difficulty", "pass@1", "calls a tool", "attempts")
    for name, level in report.levels.items():
        rates: tuple[Rate, Rate] = (level.pass_at_1, level.call_rate)
        table.add_row(name, *map(str, rates), str(level.pass_at_1.attempts))
    return table


def _at_k(report: EvalReport) -> Table:
    table = _table("k", "pass@k", "pass^k (all k)", "maj@k", "tasks")
    for one in report.at_k:
        table.add_row(str(one.k), str(one.any), str(one.all), str(one.majority), str(one.any.tasks))
    return table


def _why(episode: Episode) -> str:
    if episode.fault is not None:
        return f"task {episode.task_id}, {episode.fault.phase}: {episode.fault.message}"
    error = episode.score.error if episode.score is not None else None
    return f"task {episode.task_id}: {error.message if error is not None else episode.stop.value}"
