"""Learning on many devices: FSDP2 shards, and checkpoints that any number of processes can read."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from proofgym.trainers.batch import Batch
from proofgym.trainers.errors import CheckpointError
from proofgym.trainers.metric_sums import MetricSums
from proofgym.trainers.scorer import Scorer

if TYPE_CHECKING:
    from proofgym.trainers.learner import Learner


class World:
    """The processes of one learner, as torchrun started them. All of them make the same calls.

    Args:
        device_type: ``cpu`` (gloo) or ``cuda`` (nccl); the process group must be initialised.
    """

    def __init__(self, device_type: str) -> None:
        self.size = dist.get_world_size()
        self.rank = dist.get_rank()
        self._mesh = init_device_mesh(device_type, (self.size,))

    def shard(self, scorer: Scorer) -> None:
        """Split every parameter over the processes; a layer's are joined while it computes.

        Gradients are added up, not averaged: a loss's weights are global already.
        """
        decoder: Any = scorer.model.get_decoder()  # type: ignore[operator]
        for module in (*decoder.layers, scorer):
            sharded = fully_shard(module, mesh=self._mesh)
            assert isinstance(sharded, FSDPModule)
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)  # gloo has no other

    def share(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return the micro-batches that are this process's."""
        return batches[self.rank :: self.size]

    def idle(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return what to go through with weight 0, while other processes have one more."""
        rounds = -(-len(batches) // self.size)
        return list(itertools.repeat(batches[0], rounds - len(self.share(batches))))

    def joined(self, metrics: MetricSums) -> MetricSums:
        """Add up all processes' sums, in the same order everywhere."""
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, metrics)
        out = MetricSums()
        for part in parts:
            out.join(part)
        return out


def whole_weights(learner: "Learner") -> dict[str, Tensor]:
    """Return all weights of a learner's model, joined; every process must ask for them."""
    named = learner.model.named_parameters()
    return {
        name: one.full_tensor() if isinstance(one, DTensor) else one.detach() for name, one in named
    }


def save_sharded(folder: Path, learner: "Learner") -> None:
    """Write weights and optimiser, each process its own part.

    Raises:
        CheckpointError: the folder cannot be written. A retry is safe.
    """
    try:
        with _in_one_process_too():
            save(_state(learner), checkpoint_id=folder, no_dist=learner.world is None)
    except Exception as error:  # torch wraps every process's own
        raise CheckpointError(
            f"expected to write a sharded checkpoint to {folder}, got {error}. Free some space, "
            "and try again."
        ) from error


def load_sharded(folder: Path, learner: "Learner") -> None:
    """Read what :func:`save_sharded` wrote, with any number of processes.

    Raises:
        CheckpointError: it is damaged, or of another model.
    """
    state = _state(learner)
    try:
        with _in_one_process_too():
            load(state, checkpoint_id=folder, no_dist=learner.world is None)
        set_state_dict(
            learner.scorer,
            learner.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
    except Exception as error:  # torch wraps every process's own
        raise CheckpointError(
            f"expected a sharded checkpoint of {type(learner.model).__name__} in {folder}, got "
            f"{error}. It is damaged, or of another model: start from another one."
        ) from error
    learner.step_number = int(state["step_number"])


@contextmanager
def _in_one_process_too() -> Iterator[None]:
    """Keep torch from warning of what is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*in a single process")
        yield


def _state(learner: "Learner") -> dict[str, Any]:
    model, optimizer = get_state_dict(learner.scorer, learner.optimizer)
    return {"model": model, "optimizer": optimizer, "step_number": learner.step_number}
