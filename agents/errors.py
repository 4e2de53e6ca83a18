"""What the agents area raises."""


class AgentError(Exception):
    """Base of this area's errors: a policy, a renderer or the driver is used wrongly."""


class EngineError(AgentError):
    """An engine refused a request or is dead. A retry is safe once the engine is back."""


class RenderError(AgentError):
    """A chat template cannot do what was asked, such as rendering tools. No retry helps."""


class WeightSyncError(AgentError):
    """An engine does not have the learner's weights. Its rollouts would train on a lie: stop."""
