"""The commands and what they take. Each loads what it needs only when it runs."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from proofgym.cli.failure import explain

DEBUG = "--debug"
EPILOGUE = f"Every command also takes {DEBUG}: on an error, show the traceback."


def version() -> str:
    """Return this installation's version."""
    from importlib.metadata import version as installed

    return f"proofgym {installed('proofgym')}"


app = App(
    name="proofgym",
    help="Environments with checked rewards, and trainers that drive a policy through them.",
    help_epilogue=EPILOGUE,
    version=version,
    help_format="plaintext",
)


@app.command
def train(
    config: Path,
    /,
    *overrides: str,
    run_dir: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train a policy. The same command resumes a run that was stopped.

    Parameters
    ----------
    config
        A TOML file, such as recipes/quickstart.toml.
    overrides
        dotted.key=value, such as stages.grpo.optimizer.lr=2e-6.
    run_dir
        The run's folder; runs/NAME where it is not given.
    dry_run
        Print the resolved configuration as TOML and do nothing.
    """
    from proofgym.cli.train import train as run

    return run(config, overrides, run_dir=run_dir, dry_run=dry_run)


@app.command
def plan(
    config: Path,
    /,
    *overrides: str,
    gpu_memory: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Say what a run takes of its GPUs' memory, and whether it fits. Exits with 1 if not.

    No weights are loaded. Without a GPU, here or named, it is the machine's own memory.

    Parameters
    ----------
    config
        A TOML file, such as recipes/gpu_smoke.toml.
    overrides
        dotted.key=value, such as stages.grpo.token_budget=65536.
    gpu_memory
        Of each GPU, such as 80GiB; that of the GPU at hand where it is not given.
    as_json
        Print it for programs; sizes are bytes.
    """
    from proofgym.cli.plan import plan as run

    return run(config, overrides, gpu_memory=gpu_memory, as_json=as_json)


@app.command(name="eval")
def evaluate(
    *env_ids: str,
    policy: str,
    model: str | None = None,
    key_env: str = "PROOFGYM_API_KEY",
    price: str | None = None,
    decode: str | None = None,
    suite: str | None = None,
    tasks: Annotated[int, Parameter(name=["--tasks", "-n"])] = 256,
    attempts: Annotated[int, Parameter(name=["--attempts", "-k"])] = 1,
    split: Literal["heldout", "train"] = "heldout",
    seed: int = 0,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Measure a policy: pass@1, and what k attempts are worth, with 95% intervals.

    The same command again goes on where a killed one stopped; with a larger -k it adds attempts.

    Parameters
    ----------
    env_ids
        Environments' ids; `proofgym envs` lists them.
    policy
        A model's folder or hub id; an OpenAI-compatible URL up to and with /v1; or a scripted
        policy: oracle, noop, or one of the environment's.
    model
        For a URL: the model's name there.
    key_env
        For a URL: the environment variable that holds the key, where one is needed.
    price
        For a URL: PROMPT,COMPLETION in dollars a million tokens, such as 0.15,0.60.
    decode
        More computation for each message: best-of-8 or majority-8 of candidates, or a budget of
        thinking tokens, budget:256 or budget:64-256.
    suite
        In place of ids: families such as math,tools, or a suite's lock file (it ends in .json).
    tasks
        How many tasks to draw of each environment.
    attempts
        How often each is tried.
    split
        Which tasks. Held-out ones are never trained on.
    seed
        What the tasks and all sampling derive from.
    temperature
        0 is greedy.
    max_tokens
        For one assistant message; the environment's own limit where it is not given.
    device
        auto, cpu, cuda, cuda:1, ...
    out
        The folder of suite.lock.json, episodes.jsonl, summary.json and report.html; named after
        what is measured, under runs/eval, where it is not given.
    """
    from proofgym.cli.evaluate import EvalRequest, run_evaluation

    return run_evaluation(
        EvalRequest(
            env_ids=env_ids,
            suite=suite,
            policy=policy,
            model=model,
            key_env=key_env,
            price=price,
            decode=decode,
            tasks=tasks,
            attempts=attempts,
            split=split,
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
            device=device,
            out=out,
        )
    )


@app.command
def compare(
    a: Path,
    b: Path,
    /,
    *,
    gate: Annotated[bool, Parameter(negative=())] = False,
    margin: float = 0.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Compare two evaluations task by task: is B better than A, or worse, or is it chance?

    Parameters
    ----------
    a
        The baseline's evaluation folder.
    b
        The candidate's.
    gate
        Exit with 0 where B passes, 1 where it is worse, 3 where there are too few tasks to say.
    margin
        The loss of pass@1 that --gate accepts, such as 0.01.
    json
        Print one JSON object.
    """
    from proofgym.cli.compare import compare_folders

    return compare_folders(a, b, gate=gate, margin=margin, as_json=json)


@app.command
def rescore(folder: Path, /, *, write: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Judge an evaluation's attempts again with the verifiers of today, and list what flips.

    Parameters
    ----------
    folder
        The evaluation's folder.
    write
        Keep the new verdicts; without it nothing is changed.
    """
    from proofgym.cli.rescore import rescore_folder

    return rescore_folder(folder, write=write)


@app.command
def play(
    env_id: str,
    /,
    *,
    seed: int | None = None,
    index: int | None = None,
    split: Literal["train", "heldout"] = "train",
) -> int:
    """Play an environment yourself, with what a policy sees and can do.

    Parameters
    ----------
    env_id
        An environment's id; `proofgym envs` lists them.
    seed
        The same seed poses the same task; a new one each time where it is not given.
    index
        Of a task in its split, in place of a drawn one.
    split
        Where to draw from.
    """
    from proofgym.cli.play import play as run

    return run(env_id, seed=seed, index=index, split=split)


@app.command
def audit(
    env_id: str,
    /,
    *,
    budget: float = 60.0,
    strict: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    out: Path | None = None,
) -> int:
    """Attack an environment, and say whether its reward can be trusted. Exits with 1 if not.

    Parameters
    ----------
    env_id
        An id; or module:Class, or path/to/file.py:Class.
    budget
        Seconds for all attacks.
    strict
        Fail also for warnings and where the budget was not enough.
    as_json
        Print the report as JSON in place of the card.
    out
        A file to write the report to as JSON.
    """
    from proofgym.cli.audit import run_audit

    return run_audit(env_id, budget=budget, strict=strict, as_json=as_json, out=out)


@app.command
def envs(*words: str, show: str | None = None) -> int:
    """List environments, or those whose id or description has every word.

    Parameters
    ----------
    words
        What to look for.
    show
        Describe the environment with this id: tasks, tools, limits, scripted policies.
    """
    from proofgym.cli.list_envs import list_environments, show_environment

    return list_environments(words) if show is None else show_environment(show)


@app.command
def new(name: str, /, *, template: Literal["qa", "tools", "multi-turn"] = "qa") -> int:
    """Write a package with an environment of your own: sound, tested and ready to be trained on.

    Parameters
    ----------
    name
        Of the package and its folder, such as my_env.
    template
        qa: questions and answers in a file; tools: questions that need a tool; multi-turn: a game.
    """
    from proofgym.cli.new_package import new_package

    return new_package(name, template=template)


@app.command
def verify(
    *,
    kind: Literal["math", "instruction", "code"],
    gold: str | None = None,
    answer: str | None = None,
    file: Path | None = None,
    out: Path | None = None,
) -> int:
    """Judge one answer, or a file of them.

    Parameters
    ----------
    kind
        What judges: mathematical equality, instructions that a program can check, or tests of a
        program, which runs in a sandbox.
    gold
        The right answer; for instruction, the instructions as JSON; for code, the tests: asserts,
        JSON, or a file of either.
    answer
        What is judged; for code, a program, a message that holds one, or a file.
    file
        JSON lines to judge in place of one answer: gold and pred for math; constraint, kwargs
        and response for instruction; kind, tests, entry_point and submission (or answer, a
        message) for code; id where there is one.
    out
        Where the verdicts go, one JSON line a row. Rows that it has already are skipped.
    """
    from proofgym.cli.verify import verify_file, verify_one
    from proofgym.errors import UsageError

    if file is not None and gold is None and answer is None:
        return verify_file(kind, file, out)
    if gold is None or answer is None or file is not None or out is not None:
        raise UsageError("verify takes either --gold and --answer, or --file and perhaps --out.")
    return verify_one(kind, gold, answer)


@app.command
def doctor(
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
    clean_sandboxes: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show which sandboxes and GPUs work on this machine, how well, why not, and what helps.

    Exits with 1 where no sandbox works, or something is wrong with a GPU; having none is not wrong.

    Parameters
    ----------
    json
        Print it for programs.
    clean_sandboxes
        Delete what killed processes left (cgroups, folders, containers), and do nothing else.
    """
    from proofgym.cli.doctor import doctor as run

    return run(as_json=json, clean=clean_sandboxes)


@app.command
def serve_sandboxes(
    *,
    host: str = "127.0.0.1",
    port: int = 8089,
    backend: str = "auto",
    size: int = 0,
    token_file: Path | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
) -> int:
    """Let other hosts use this machine's sandboxes, until stopped.

    Parameters
    ----------
    host
        The address to listen at. Beyond the loopback, use TLS or a private network.
    port
        Where to listen; 0 takes a free one.
    backend
        auto, ns, landlock, docker, ...
    size
        Sandboxes and programs at one time; 0 is twice the cores.
    token_file
        A file with the token that clients must show, of at least 16 characters; otherwise it is
        read from the environment, PROOFGYM_SANDBOX_TOKEN.
    tls_certificate
        A PEM file; with --tls-key it serves https.
    tls_key
        The certificate's key.
    """
    from proofgym.cli.serve_sandboxes import ServeRequest
    from proofgym.cli.serve_sandboxes import serve_sandboxes as run

    return run(
        ServeRequest(
            host=host,
            port=port,
            backend=backend,
            size=size,
            token_file=token_file,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
        )
    )


@app.command
def replay(bundle: Path, /, *, loss: str | None = None) -> int:
    """Take one step of a run again on the CPU: its loss and gradient norm, as recorded and now.

    Parameters
    ----------
    bundle
        RUN/step-0123, or a file of RUN/bundles. A run writes them with bundles_every = N.
    loss
        Another policy loss than the step was taken with, such as cispo.
    """
    from proofgym.cli.replay import replay as run

    return run(bundle, loss)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 for a mistake in how it was asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    given = [word for word in given if word != DEBUG]
    try:
        result = app(given, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as in `proofgym envs | head`
        return 0
    except Exception as error:
        failure = explain(error)
        if debug:
            traceback.print_exc()
        elif failure is None:
            raise
        if failure is None:
            return 1
        sys.stderr.write(f"proofgym: {failure.message}\n")
        return failure.exit_code
    return result if isinstance(result, int) else 0
