"""What the trainers area raises."""


class TrainError(Exception):
    """Base of this area's errors: a run cannot go on. The message says what to do."""


class ConfigError(TrainError):
    """A run's configuration is wrong. Nothing has been written."""


class RunFolderError(TrainError):
    """The run folder cannot be used: not writable, or it belongs to another configuration."""


class FaultRateError(TrainError):
    """Too many episodes of a batch failed by the environment's or the infrastructure's fault."""


class StoppedError(TrainError):
    """The user asked to stop; everything up to the last whole step is saved."""


class LedgerError(TrainError):
    """The ledger cannot be used, or its counts do not add up."""


class CheckpointError(TrainError):
    """A checkpoint cannot be written or loaded; the one before it is whole. A retry is safe."""


class SyncError(TrainError):
    """The engine holds other weights than the learner sent. The run's last checkpoint is whole."""


class MonitorError(TrainError):
    """A monitor whose action is ``stop`` saw something wrong. The step it was seen at is saved."""


class BundleError(TrainError):
    """A step bundle cannot be found, read or replayed as asked."""
