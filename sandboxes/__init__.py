"""Run untrusted programs under limits: one protocol, several backends, a pool."""

from proofgym.sandboxes.blocking import BlockingInterpreter, BlockingSandbox, open_sandbox
from proofgym.sandboxes.bridged import BridgedInterpreter, BridgedSandbox
from proofgym.sandboxes.calls import Calls
from proofgym.sandboxes.errors import (
    SandboxBusy,
    SandboxClosed,
    SandboxError,
    SandboxFileError,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)
from proofgym.sandboxes.pool import Pool, PoolConfig, PoolStats
from proofgym.sandboxes.protocol import (
    Backend,
    FileEntry,
    FileKind,
    Interpreter,
    Isolation,
    Limits,
    Network,
    Result,
    Sandbox,
    Snapshot,
    Status,
    Usage,
)
from proofgym.sandboxes.selection import select_backend
from proofgym.sandboxes.shared import SandboxSpec, SharedPools, SharedSandboxes, shared_sandboxes
from proofgym.sandboxes.workspace import InterpreterKind, Workspace

__all__ = [
    "Backend",
    "BlockingInterpreter",
    "BlockingSandbox",
    "BridgedInterpreter",
    "BridgedSandbox",
    "Calls",
    "FileEntry",
    "FileKind",
    "Interpreter",
    "InterpreterKind",
    "Isolation",
    "Limits",
    "Network",
    "Pool",
    "PoolConfig",
    "PoolStats",
    "Result",
    "Sandbox",
    "SandboxBusy",
    "SandboxClosed",
    "SandboxError",
    "SandboxFileError",
    "SandboxLost",
    "SandboxSpec",
    "SandboxTimeout",
    "SandboxUnavailable",
    "SharedPools",
    "SharedSandboxes",
    "Snapshot",
    "Status",
    "Usage",
    "Workspace",
    "open_sandbox",
    "select_backend",
    "shared_sandboxes",
]
