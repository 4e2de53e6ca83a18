"""Low-rank adapters: train a few numbers beside frozen weights.

Shapes: O and I, a linear map's outputs and inputs; R the rank.
"""

import copy
import warnings
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from proofgym.trainers.errors import TrainError
from proofgym.trainers.learner_config import Lora

_ADAPTER = "default"


class Adapters:
    """A model with adapters, and the plain model that is to have the sum of both.

    Args:
        served: what is sampled from, measured and saved; :meth:`merge` writes its weights.
        config: which adapters.

    Raises:
        TrainError: no module of the model has a name among the targets, or one of them is the
            head, or not a linear map.
    """

    def __init__(self, served: nn.Module, config: Lora) -> None:
        self.served = served
        everything = config.targets == ["all-linear"]
        settings = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            target_modules="all-linear" if everything else list(config.targets),
            lora_dropout=config.dropout,
        )
        own = copy.deepcopy(served)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft warns of tied heads, which are refused below
            torch.manual_seed(config.seed)
            try:
                self.model: nn.Module = inject_adapter_in_model(settings, own, _ADAPTER)
            except ValueError as error:
                raise TrainError(
                    f"expected learner.adapter.targets to name modules of {type(served).__name__}, "
                    f"got {config.targets}: {error}"
                ) from error
        self._layers = self._checked_layers()
        dtype = torch.promote_types(next(served.parameters()).dtype, torch.float32)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(_is_adapter(name))
            if _is_adapter(name):
                parameter.data = parameter.data.to(dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the adapters' tensors."""
        named = self.model.named_parameters()
        return {name: one.detach() for name, one in named if _is_adapter(name)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave, and merge it.

        Raises:
            ValueError: the tensors are those of other adapters.
        """
        own = self.state_dict()
        if {name: one.shape for name, one in own.items()} != {k: v.shape for k, v in state.items()}:
            raise ValueError(
                f"expected the tensors of {len(own)} adapters, got {len(state)} others"
            )
        for name, one in own.items():
            one.copy_(state[name])
        self.merge()

    @torch.no_grad()
    def merge(self) -> None:
        """Write W + alpha / rank * B A into the served model."""
        for name, layer in self._layers.items():
            base: Any = layer.get_base_layer()
            served: Any = self.served.get_submodule(name)
            served.weight.copy_(base.weight + layer.get_delta_weight(_ADAPTER))

    def _checked_layers(self) -> dict[str, Any]:
        """Find the adapters' layers, and refuse what cannot be merged or is not scored."""
        found: dict[str, Any] = {}
        head = self.model.get_output_embeddings()  # type: ignore[operator]
        for name, module in self.model.named_modules():
            if isinstance(module, LoraLayer):
                base: Any = module.get_base_layer()
                if module is head or type(base) is not nn.Linear:
                    raise TrainError(
                        "expected learner.adapter.targets to name linear maps other than the head, "
                        f"got {name}, which is {type(base).__name__}. Leave it out."
                    )
                found[name] = module
        return found


def _is_adapter(name: str) -> bool:
    return ".lora_" in name
