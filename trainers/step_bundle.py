"""One optimiser step as a file that needs nothing else: weights, batches, randomness, outputs.

It is a safetensors file whose header carries the rest as JSON, so that it can be sent to somebody
and replayed on a CPU.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from proofgym.agents.whole_file import write_whole
from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.batch import Batch
from proofgym.trainers.errors import BundleError
from proofgym.trainers.learner import Learner, LossFunction, StepReport
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.value_head import ValueHead

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepBundle:
    """What an optimiser step was made of, and what came out.

    Args:
        stage, step, update: which one; steps and updates count from 1.
        config: the stage's, as it was at this step.
        model: the model's configuration, as transformers writes it.
        weights: before the step, by the names of its parameters.
        batches: the micro-batches.
        rng: torch's state before the step.
        outputs: the step's metrics; empty where the step failed.
    """

    stage: str
    step: int
    update: int
    config: RlConfig
    model: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    batches: Sequence[Batch]
    rng: Tensor
    outputs: Mapping[str, float]


class Recorder:
    """Record a step's updates, where they are to be kept, or where one fails.

    Args:
        folder: where bundles go.
        stage: the stage's name.
        step: how many steps came before.
        keep: whether this step is one to keep.
    """

    def __init__(self, folder: Path, stage: str, step: int, *, keep: bool) -> None:
        self.folder = folder
        self.stage = stage
        self.step = step + 1
        self.keep = keep
        self.update = 0

    def take(
        self, learner: Learner, batches: Sequence[Batch], config: RlConfig, loss: LossFunction
    ) -> StepReport:
        """Take an optimiser step, and write it down where it is asked for or fails.

        Args:
            learner: takes it.
            batches: the step's micro-batches.
            config: the stage's, which a replay makes the loss from.
            loss: the same loss.

        Raises:
            TrainError: as the learner does; the bundle is on the disk by then, and named.
        """
        self.update += 1
        rng = torch.get_rng_state()
        weights = _parameters(learner) if self.keep else {}
        try:
            report = learner.step(batches, loss, entropy_gradient=config.entropy_coefficient > 0)
        except Exception as error:
            path = self._write(learner, _parameters(learner), batches, config, rng, {})
            error.add_note(f"Its step bundle is {path}: proofgym replay {path}")
            raise
        if self.keep:
            self._write(learner, weights, batches, config, rng, report.metrics)
        return report

    def _write(
        self,
        learner: Learner,
        weights: Mapping[str, Tensor],
        batches: Sequence[Batch],
        config: RlConfig,
        rng: Tensor,
        outputs: Mapping[str, float],
    ) -> Path:
        several = f"-update-{self.update}" if self.update > 1 else ""
        path = self.folder / f"{self.stage}-{self.step:06d}{several}.safetensors"
        model: Any = learner.model
        bundle = StepBundle(
            stage=self.stage,
            step=self.step,
            update=self.update,
            config=config,
            model=model.config.to_dict(),
            weights=weights,
            batches=batches,
            rng=rng,
            outputs=outputs,
        )
        write_bundle(path, bundle)
        return path


def write_bundle(path: Path, bundle: StepBundle) -> None:
    """Write a bundle whole or not at all."""
    tensors = {f"weights.{name}": tensor for name, tensor in bundle.weights.items()}
    tensors["rng"] = bundle.rng
    plain: list[dict[str, Any]] = []
    for index, batch in enumerate(bundle.batches):
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        held = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        tensors |= {f"batch.{index}.{name}": tensor for name, tensor in held.items()}
        plain.append({name: value for name, value in values.items() if name not in held})
    header = {
        "schema_version": SCHEMA_VERSION,
        "stage": bundle.stage,
        "step": bundle.step,
        "update": bundle.update,
        "config": bundle.config.model_dump(mode="json"),
        "model": bundle.model,
        "batches": plain,
        "outputs": bundle.outputs,
    }
    ready = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(ready, metadata={"proofgym": json.dumps(header, default=str)}))


def read_bundle(path: Path) -> StepBundle:
    """Read what :func:`write_bundle` wrote.

    Raises:
        BundleError: the file is missing, damaged, or of another version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["proofgym"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"expected a step bundle at {path}, got {type(error).__name__}: {error}. "
            "bundles_every = N in a run's configuration writes every Nth step's."
        ) from error
    if header["schema_version"] != SCHEMA_VERSION:
        raise BundleError(
            f"expected a step bundle of version {SCHEMA_VERSION} at {path}, got "
            f"{header['schema_version']}. Replay it with the proofgym that wrote it."
        )
    return StepBundle(
        stage=header["stage"],
        step=header["step"],
        update=header["update"],
        config=RlConfig.model_validate(header["config"]),
        model=header["model"],
        weights=_below(tensors, "weights."),
        batches=[
            _batch(plain, _below(tensors, f"batch.{index}."))
            for index, plain in enumerate(header["batches"])
        ],
        rng=tensors["rng"],
        outputs=header["outputs"],
    )


def replay_bundle(bundle: StepBundle, *, loss: str | None = None) -> StepReport:
    """Take the step again on a CPU.

    Args:
        bundle: the step; it is not changed.
        loss: another policy loss's name, in place of the one it was taken with.

    Raises:
        BundleError: the loss is not one that there is.
        TrainError: the step fails again.
    """
    config = bundle.config if loss is None else _with_loss(bundle.config, loss)
    settings = {name: value for name, value in bundle.model.items() if name != "model_type"}
    described: Any = AutoConfig.for_model(bundle.model["model_type"], **settings)
    model: Any = AutoModelForCausalLM.from_config(described)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    critic = config.critic if isinstance(config.critic, ValueHead) else None
    learner = Learner(
        model.to(torch.float32),
        config.optimizer,
        total_steps=config.steps,
        critic=critic,
        config=config.learner,
    )
    own = dict(_named(learner))
    with torch.no_grad():
        for name, tensor in bundle.weights.items():
            own[name].copy_(tensor)
    torch.set_rng_state(bundle.rng)
    entropy_gradient = config.entropy_coefficient > 0
    return learner.step(bundle.batches, policy_loss(config), entropy_gradient=entropy_gradient)


def find_bundle(place: Path) -> Path:
    """Find a bundle's file by its own path, or as ``RUN/step-0123``.

    Raises:
        BundleError: there is none, or several stages have one.
    """
    if place.is_file():
        return place
    word, _, digits = place.name.rpartition("-")
    folder = place.parent / "bundles"
    name = f"*-{int(digits):06d}" if word == "step" and digits.isdigit() else place.name
    found = sorted(folder.glob(f"{name}.safetensors"))
    if len(found) == 1:
        return found[0]
    have = ", ".join(path.stem for path in found or sorted(folder.glob("*.safetensors")))
    raise BundleError(
        f"expected one step bundle for {place}, got {len(found)}. "
        f"{f'There are {have}, in {folder}: name one of these.' if have else ''}"
        f"{'' if have else f'{folder} has none: bundles_every = N writes every Nth.'}"
    )


def _with_loss(config: RlConfig, loss: str) -> RlConfig:
    table = config.model_dump(mode="json")
    try:
        return RlConfig.model_validate({**table, "loss": {"kind": loss}})
    except ValueError as error:
        raise BundleError(f"expected the name of a policy loss, got {loss!r}: {error}") from error


def _parameters(learner: Learner) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in _named(learner)}


def _named(learner: Learner) -> Iterator[tuple[str, nn.Parameter]]:
    yield from learner.model.named_parameters()
    if learner.value_head is not None:
        yield from learner.value_head.named_parameters(prefix="value_head")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _batch(plain: Mapping[str, Any], tensors: Mapping[str, Any]) -> Batch:
    """Make a batch again, with tuples where JSON has lists."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (*plain.items(), *tensors.items())
    }
    return Batch(**values)
