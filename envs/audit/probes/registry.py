"""Every probe by name."""

from collections.abc import Awaitable, Callable, Mapping

from proofgym.envs.audit.ground import Ground
from proofgym.envs.audit.probes.contract import probe_contract
from proofgym.envs.audit.probes.data import probe_data
from proofgym.envs.audit.probes.execution import probe_execution
from proofgym.envs.audit.probes.leaks import probe_leaks
from proofgym.envs.audit.probes.oracle import probe_oracle
from proofgym.envs.audit.probes.reward import probe_reward
from proofgym.envs.audit.probes.state import probe_state
from proofgym.envs.audit.probes.traces import probe_traces

Probe = Callable[[Ground], Awaitable[None]]
PROBES: Mapping[str, Probe] = {
    "traces": probe_traces,
    "contract": probe_contract,
    "oracle": probe_oracle,
    "data": probe_data,
    "leaks": probe_leaks,
    "execution": probe_execution,
    "state": probe_state,
    "reward": probe_reward,
}
