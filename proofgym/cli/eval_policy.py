"""Find the policy that ``proofgym eval`` is asked to measure."""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofgym.agents import AgentError, ChatEndpoint, Policy, Scripted
from proofgym.envs import Env, Sampling
from proofgym.errors import UsageError
from proofgym.verifiers import Message, Task, assistant

if TYPE_CHECKING:
    import torch

ENGINE_SLOTS = 256
NOOP = "noop"
KEY_ENV = "PROOFGYM_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """Which policy, and how it samples. The fields are the command's options."""

    name: str
    temperature: float
    max_tokens: int | None
    device: str
    model: str | None = None
    key_env: str = KEY_ENV
    price: str | None = None
    decode: str | None = None

    @property
    def is_url(self) -> bool:
        """Whether it is a model behind a URL."""
        return self.name.startswith(("http://", "https://"))

    @property
    def label(self) -> str:
        """What reports and folders call it; it has no key."""
        return " ".join(filter(None, (self.name, self.model, self.decode)))

    def __post_init__(self) -> None:
        if self.is_url and not self.model:
            raise UsageError(
                "--policy is a URL, so --model must name a model of that server; got none."
            )
        if not self.is_url and (self.model is not None or self.price is not None):
            raise UsageError(
                "--model and --price are for a --policy that is a URL up to and with /v1, got "
                f"--policy {self.name}."
            )

    def sampling(self, environment: type[Env]) -> Sampling:
        """Say how tokens are drawn in an environment."""
        most = self.max_tokens or environment.limits.tokens
        return Sampling(temperature=self.temperature, max_tokens=most)

    @property
    def weights(self) -> str:
        """What the policy's files look like: names, sizes and times, 12 hex digits."""
        folder = Path(self.name)
        if not folder.is_dir():
            return ""
        facts = [
            (str(one.relative_to(folder)), one.stat().st_size, one.stat().st_mtime_ns)
            for one in sorted(folder.rglob("*"))
            if one.is_file()
        ]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def choose_policy(
    request: PolicyRequest, environments: list[type[Env]]
) -> Callable[[type[Env]], Policy]:
    """Find the policy: a scripted one by name, or a model by folder, hub id or server's URL.

    Returns:
        What makes the policy for one of the environments; a model is loaded once.

    Raises:
        UsageError: it is none of these.
    """
    name = request.name
    if request.is_url:
        endpoint = _endpoint(request, environments)
        return lambda _: endpoint
    if name == NOOP:
        return lambda _: Scripted(_say_nothing)
    if all(name in environment.demonstrators for environment in environments):
        return lambda environment: Scripted(environment.demonstrators[name])
    folder = Path(name)
    if folder.is_dir():
        _check_model_folder(folder)
    elif name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(_neither(name, environments))
    return _engine_policies(request)


def apply_decoding(request: PolicyRequest, policy: Policy) -> Policy:
    """Put the decoding strategy that was asked for over a policy.

    Raises:
        UsageError: there is none such, or it does not fit the policy.
    """
    if request.decode is None:
        return policy
    from proofgym.agents.decoding import DecodeConfig, decoded

    try:
        return decoded(policy, DecodeConfig.parse(request.decode))
    except AgentError as error:
        raise UsageError(f"--decode {request.decode}: {error}") from error


def _endpoint(request: PolicyRequest, environments: list[type[Env]]) -> ChatEndpoint:
    """Make a client of a server. The key is read here, from the environment, and nowhere else."""
    from pydantic import ValidationError

    from proofgym.agents import ChatEndpointConfig
    from proofgym.verifiers import Secret

    price = None
    if request.price is not None:
        prompt, _, completion = request.price.partition(",")
        price = {"prompt": prompt, "completion": completion}
    most = request.max_tokens or max(one.limits.tokens for one in environments)
    try:
        config = ChatEndpointConfig.model_validate(
            {
                "base_url": request.name,
                "model": request.model,
                "temperature": request.temperature,
                "max_tokens": most,
                "price": price,
            }
        )
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise UsageError(_option_of(str(first["loc"][0]), first["msg"])) from None
    key = os.environ.get(request.key_env, "")
    return ChatEndpoint(config, api_key=Secret(key) if key else None)


def _option_of(field: str, problem: str) -> str:
    if field == "price":
        return "--price must be PROMPT,COMPLETION in dollars a million tokens, such as 0.15,0.60."
    name = {"base_url": "policy"}.get(field, field.replace("_", "-"))
    return f"--{name}: {problem}."


def _say_nothing(task: Task, messages: tuple[Message, ...]) -> Message:
    return assistant("")


def _neither(name: str, environments: list[type[Env]]) -> str:
    scripts = [set(environment.demonstrators) for environment in environments]
    common = sorted(set.intersection(*scripts)) if scripts else []
    lacking = [e.id for e in environments if name not in e.demonstrators]
    if len(lacking) < len(environments):
        return f"--policy {name} is no scripted policy of {', '.join(lacking)}."
    near = difflib.get_close_matches(name, common, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"--policy must be a model's folder, or one of {', '.join([*common, NOOP])} (scripted); "
        f"got {name!r}.{hint}"
    )


def _check_model_folder(folder: Path) -> None:
    checkpoints = folder / "checkpoints"
    if checkpoints.is_dir():  # a run, not a checkpoint
        known = sorted(one.name for one in checkpoints.iterdir() if (one / "config.json").exists())
        raise UsageError(
            f"--policy must be one checkpoint, got the run {folder}. It has "
            f"{', '.join(str(checkpoints / one) for one in known) or 'none yet'}."
        )
    if not (folder / "config.json").exists():
        raise UsageError(
            f"--policy must be a folder that from_pretrained loads, got {folder}, which has no "
            "config.json."
        )


def _engine_policies(request: PolicyRequest) -> Callable[[type[Env]], Policy]:
    import transformers

    from proofgym.agents import EnginePolicy, Renderer
    from proofgym.agents.transformers_engine import TransformersEngine

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(request.name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(request.name)
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UsageError(f"--policy {request.name} cannot be loaded: {first}") from error
    model = model.to(_device(request.device)).eval()
    context = int(model.config.max_position_embeddings)
    engine = TransformersEngine(model, max_slots=ENGINE_SLOTS, max_context=context)
    renderer = Renderer(tokenizer)
    return lambda environment: EnginePolicy(engine, renderer, request.sampling(environment))


def _device(name: str) -> "torch.device":
    from proofgym.config import check_device
    from proofgym.trainers.run import pick_device

    check_device(name)
    return pick_device(name)
