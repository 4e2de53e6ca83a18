"""Tasks, episodes, tools, the registry."""

from proofgym.envs.actions import message_of, text_of
from proofgym.envs.bounds import Bounds
from proofgym.envs.demonstrator import Demonstrator
from proofgym.envs.derive import derive
from proofgym.envs.env import Env
from proofgym.envs.episode import SCHEMA_VERSION, Episode, Sampling, Source, Turn
from proofgym.envs.errors import DataError, EnvError, InfraError, ToolError, UnknownEnvError
from proofgym.envs.limits import Limits
from proofgym.envs.observation import Opening, Transition
from proofgym.envs.registry import EnvEntry, environment_class, list_envs, make, register
from proofgym.envs.session import Session
from proofgym.envs.snapshot import Snapshot
from proofgym.envs.stop import Blame, Fault, Stop
from proofgym.envs.suite import Suite, SuiteError, lock_suite, locked_tasks, read_suite
from proofgym.envs.tasks import Split, TaskSource, content_share, generated, listed, rows
from proofgym.envs.text_space import AnyText
from proofgym.envs.tools import Tool, ToolFault, bash_tool, python_tool, tool
from proofgym.sandboxes import BlockingSandbox as Sandbox
from proofgym.sandboxes import BridgedSandbox as AsyncSandbox
from proofgym.sandboxes import Limits as SandboxLimits
from proofgym.sandboxes import SandboxSpec

__all__ = [
    "SCHEMA_VERSION",
    "AnyText",
    "AsyncSandbox",
    "Blame",
    "Bounds",
    "DataError",
    "Demonstrator",
    "Env",
    "EnvEntry",
    "EnvError",
    "Episode",
    "Fault",
    "InfraError",
    "Limits",
    "Opening",
    "Sampling",
    "Sandbox",
    "SandboxLimits",
    "SandboxSpec",
    "Session",
    "Snapshot",
    "Source",
    "Split",
    "Stop",
    "Suite",
    "SuiteError",
    "TaskSource",
    "Tool",
    "ToolError",
    "ToolFault",
    "Transition",
    "Turn",
    "UnknownEnvError",
    "bash_tool",
    "content_share",
    "derive",
    "environment_class",
    "generated",
    "list_envs",
    "listed",
    "lock_suite",
    "locked_tasks",
    "make",
    "message_of",
    "python_tool",
    "read_suite",
    "register",
    "rows",
    "text_of",
    "tool",
]
