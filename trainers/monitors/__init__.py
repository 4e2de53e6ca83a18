"""What watches a stage's metrics, and says or does something about them."""

from proofgym.trainers.monitors.config import Action, MonitorsConfig, ThresholdConfig
from proofgym.trainers.monitors.monitor import Finding, Monitors, corrected

__all__ = ["Action", "Finding", "Monitors", "MonitorsConfig", "ThresholdConfig", "corrected"]
