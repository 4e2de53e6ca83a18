"""Turn what was raised into one clear line and an exit code."""

from dataclasses import dataclass

MISTAKE, FAILED = 2, 1
EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "peft": "train",
    "datasets": "train",
    "docker": "docker",
    "httpx2": "http",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What to tell a person.

    Args:
        message: what was expected, what came, what to do.
        exit_code: 2 for a mistake in the request, 1 for work that failed.
    """

    message: str
    exit_code: int


def explain(error: Exception) -> Failure | None:
    """Find words for an error that a person can act on; None for a defect of ours."""
    if isinstance(error, ModuleNotFoundError):
        return _missing_extra(error)
    if isinstance(error, OSError):
        place = f" at {error.filename}" if error.filename else ""
        return Failure(
            message=f"the system refused{place}: {error.strerror or error}.", exit_code=FAILED
        )
    # after an error there is time to load what names its kinds
    from proofgym.agents.errors import AgentError
    from proofgym.envs.errors import EnvError, UnknownEnvError
    from proofgym.errors import UsageError
    from proofgym.sandboxes.errors import SandboxError
    from proofgym.trainers.errors import ConfigError, RunFolderError, TrainError
    from proofgym.verifiers.errors import VerifierError

    if isinstance(error, UsageError | ConfigError | RunFolderError | UnknownEnvError):
        return Failure(message=str(error), exit_code=MISTAKE)
    if isinstance(error, TrainError | AgentError | EnvError | VerifierError | SandboxError):
        return Failure(message=str(error), exit_code=FAILED)
    return None


def _missing_extra(error: ModuleNotFoundError) -> Failure | None:
    name = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(name)
    if extra is None:
        return None
    return Failure(
        message=f"this needs {name}, which is not installed. "
        f"Install it with: pip install 'proofgym[{extra}]'",
        exit_code=FAILED,
    )
