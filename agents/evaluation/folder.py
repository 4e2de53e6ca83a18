"""An evaluation's folder: what is measured, and every attempt as soon as it has ended."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proofgym.agents.episode_files import read_episodes, write_episodes
from proofgym.agents.errors import AgentError
from proofgym.agents.whole_file import write_whole
from proofgym.envs import Episode, Suite, read_suite

RECORD, EPISODES = "evaluation.json", "episodes.jsonl"
CHUNK_EPISODES = 64
CHUNK_SECONDS = 10.0


class EvalFolderError(AgentError):
    """The folder holds another evaluation, or none. A retry does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalIdentity:
    """What makes two evaluations one: all but how many attempts are made.

    Args:
        suite: the suite's digest.
        policy: as it was asked for.
        weights: what its files looked like; empty for a policy without files.
        temperature: of sampling.
        max_tokens: for one message; None for each environment's own limit.
        seed: of all sampling.
    """

    suite: str
    policy: str
    weights: str
    temperature: float
    max_tokens: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """One attempt: which environment, which of its tasks by number, and which attempt at it."""

    env_id: str
    number: int
    attempt: int


class EvalFolder:
    """Keeps attempts in chunks, each a file that is written whole, so that a kill loses one chunk.

    Args:
        path: the folder; made where it is missing.
        suite: what is measured.
        identity: how.

    Raises:
        EvalFolderError: the folder holds another evaluation; the message has the differences.
        OSError: the folder cannot be written.
    """

    def __init__(self, path: Path, suite: Suite, identity: EvalIdentity) -> None:
        self.path = path
        self._waiting: list[Episode] = []
        self._written_at = time.monotonic()
        (path / "episodes").mkdir(parents=True, exist_ok=True)
        record = path / RECORD
        if record.exists():
            _check_same(path, json.loads(record.read_text()), asdict(identity))
        else:
            write_whole(path / "suite.lock.json", suite.to_json().encode())
            write_whole(record, (json.dumps(asdict(identity), indent=1) + "\n").encode())

    def episodes(self) -> list[Episode]:
        """Read every attempt that is on the disk, in order."""
        return stored_episodes(self.path)

    def finish(self) -> list[Episode]:
        """Put all attempts into one file, in order, and return them."""
        self.flush()
        chunks = sorted((self.path / "episodes").iterdir())
        episodes = self.episodes()
        write_episodes(self.path / EPISODES, episodes)
        for chunk in chunks:
            chunk.unlink()
        return episodes

    def add(self, episode: Episode) -> None:
        """Take an attempt that ended; it is on the disk within 64 attempts or 10 seconds."""
        self._waiting.append(episode)
        late = time.monotonic() - self._written_at > CHUNK_SECONDS
        if late or len(self._waiting) >= CHUNK_EPISODES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            numbers = [int(path.stem) for path in (self.path / "episodes").glob("*.jsonl")]
            name = f"{max(numbers, default=-1) + 1:06d}.jsonl"
            write_episodes(self.path / "episodes" / name, self._waiting)
            self._waiting = []
        self._written_at = time.monotonic()


def stored_episodes(path: Path) -> list[Episode]:
    """Read every attempt of an evaluation's folder, by environment, task and attempt.

    Of an attempt that was made again after a fault, the last one counts.

    Raises:
        EvalFolderError: it is not one.
        EpisodeFileError: a file is damaged.
    """
    if not (path / RECORD).exists():
        raise EvalFolderError(
            f"expected the folder of an evaluation, got {path}, which has no {RECORD}. "
            "`proofgym eval` makes one and prints its name."
        )
    files = [path / EPISODES, *sorted((path / "episodes").glob("*.jsonl"))]
    found = {
        key_of(episode): episode
        for file in files
        if file.exists()
        for episode in read_episodes(file)
    }
    return sorted(found.values(), key=lambda one: (one.env_id, one.group, one.rollout))


def stored_suite(path: Path) -> Suite:
    """Read the suite of an evaluation's folder."""
    return read_suite(path / "suite.lock.json")


def stored_identity(path: Path) -> EvalIdentity:
    """Read how an evaluation was made."""
    return EvalIdentity(**json.loads((path / RECORD).read_text()))


def key_of(episode: Episode) -> AttemptKey:
    """Say which attempt an episode is."""
    return AttemptKey(episode.env_id, episode.group, episode.rollout)


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    differ = [
        f"{name} {before.get(name)!r}, now {now[name]!r}"
        for name in now
        if before.get(name) != now[name]
    ]
    if differ:
        raise EvalFolderError(
            f"{path} holds another evaluation: {'; '.join(differ)}. Give another --out."
        )
