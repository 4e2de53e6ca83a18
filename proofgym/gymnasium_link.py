"""Make our environments known to gymnasium, without importing it for those who do not use it.

The finder and the loader have importlib's shapes but not its base classes: importlib.abc takes
20 ms of CPU to import, which is more than all the rest of ``import proofgym``.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader


def register_with_gymnasium() -> None:
    """Register now where gymnasium is imported already, else as soon as it is.

    gymnasium takes 0.2 s of CPU to import and has had no plugin entry points since 1.0, and
    ``import proofgym`` must stay quick. So a finder waits for gymnasium's import, and then
    removes itself.
    """
    if "gymnasium" in sys.modules:
        import proofgym.envs  # noqa: F401  # registers when it is imported
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


class _Waiting:
    """Find nothing, but see gymnasium being looked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)  # type: ignore[assignment]  # of its shape
        return spec


class _ThenRegister:
    """Load gymnasium with its own loader, then import what registers our environments."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        # others ask a module's loader for its source and its resources: the real one knows
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        import proofgym.envs  # noqa: F401  # registers when it is imported
