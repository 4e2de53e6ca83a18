"""The engine that samples on vLLM servers."""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from proofgym.agents.engine import Completion, Fingerprint, check_request
from proofgym.agents.errors import EngineError, WeightSyncError
from proofgym.agents.vllm_engine.client import ServerLostError
from proofgym.agents.vllm_engine.config import VLLMConfig
from proofgym.agents.vllm_engine.launch import EXTENSION
from proofgym.agents.vllm_engine.replica import Replica
from proofgym.agents.vllm_engine.replicas import make_replicas
from proofgym.agents.vllm_engine.router import Router
from proofgym.agents.vllm_engine.server_process import ServerProcess
from proofgym.agents.vllm_engine.token_wire import TokenRequest
from proofgym.agents.vllm_engine.transfer import WeightTransfer
from proofgym.agents.vllm_engine.transfers import transfer_for
from proofgym.envs import Sampling, derive

logger = logging.getLogger(__name__)

_CLOSE_S = 10.0
_MOST_DROPS = 5
_DROP_PAUSE_S = 0.05


class VLLMEngine:
    """Serve a policy with vLLM, token for token.

    Requests go to ``/inference/v1/generate`` where the server has it, else to
    ``/v1/completions``; weights go through vLLM's own routes. Nothing of vLLM is imported.

    A server that dies costs time and no data: it is started again with back-off, given the
    weights of the current version, and the requests that it lost are asked again. Their seeds
    are their own, so the same tokens come. Where only a connection was lost, and the server is
    healthy and has its weights, the request alone is asked again.

    Args:
        config: which servers, and how weights reach them.
        model: the folder to start servers with; not needed for ``urls``.
        version: of the weights that the servers have when the engine is made.
        dummy_weights: start servers with random weights; :meth:`load` must come first.
        transfer: moves tensors; None is the one that the config names.
        log_folder: for the servers' output; None is a temporary folder.

    Raises:
        EngineError: the config names neither servers nor a model to start them with.
    """

    def __init__(
        self,
        config: VLLMConfig,
        *,
        model: Path | None = None,
        version: int = 0,
        dummy_weights: bool = False,
        transfer: WeightTransfer | None = None,
        log_folder: Path | None = None,
    ) -> None:
        if not config.urls and model is None:
            raise EngineError("VLLMEngine needs config.urls, or a model to start servers with.")
        self.config = config
        self._dummy = dummy_weights and not config.urls
        self._scratch = tempfile.TemporaryDirectory(prefix="proofgym-vllm-")
        self._log_folder = log_folder or Path(self._scratch.name)
        self._replicas = make_replicas(config, model, self._log_folder, dummy_weights=dummy_weights)
        self._router: Router[Replica] = Router(self._replicas)
        self._transfer = transfer or transfer_for(config)
        self._version = version
        self._base_version = version  # an adapter's is its own
        self._loaded: Fingerprint | None = None
        self._adapter: tuple[str, Path] | None = None
        self._adapters: list[str] = []
        self._holds: set[str] = set()
        self._open: asyncio.Event | None = None
        self._recoveries: dict[Replica, asyncio.Task[None]] = {}
        self._checks: dict[Replica, asyncio.Task[bool]] = {}
        self._starting: asyncio.Task[None] | None = None
        self._max_context: int | None = None
        self._vocab_size: int | None = None
        self._dtype: str | None = None
        self._closed = False

    @property
    def max_context(self) -> int:
        """The most tokens that a prompt and its completion may have together.

        Raises:
            EngineError: the engine has not been started, so no server was asked.
        """
        if self._max_context is None:
            raise EngineError("max_context is the servers' to say: await start() first.")
        return self._max_context

    @property
    def version(self) -> int:
        """Of the weights that draw now."""
        return self._version

    @property
    def dtype(self) -> str:
        """Of the served weights, as torch names it.

        Raises:
            EngineError: the servers were not started, or run without our worker extension.
        """
        if self._dtype is None:
            raise EngineError(
                "expected servers that say their dtype, got none. Await start() first; start "
                "servers of your own with --worker-extension-cls proofgym_worker.ProofgymWorker "
                f"and {EXTENSION} on their PYTHONPATH."
            )
        return self._dtype

    @property
    def restarts(self) -> int:
        """How often a lost server was brought back."""
        return sum(replica.restarts for replica in self._replicas)

    @property
    def processes(self) -> list[ServerProcess]:
        """The servers that this engine started, as they are now."""
        return [replica.process for replica in self._replicas if replica.process is not None]

    async def start(self) -> None:
        """Bring all servers up; :meth:`generate` and :meth:`load` do it where it was not done.

        Raises:
            EngineError: one does not come up, or cannot be used.
        """
        self._check_open()
        if self._max_context is not None:
            return
        if self._starting is None:  # one start for all the requests that wait for it
            self._starting = asyncio.get_running_loop().create_task(self._start())
        try:
            await asyncio.shield(self._starting)
        finally:
            if self._starting is not None and self._starting.done():
                self._starting = None

    async def _start(self) -> None:
        await self._each(lambda replica: replica.bring_up(), self._replicas)
        await self._each(lambda replica: replica.label(self._base_version), self._replicas)
        facts = [replica.facts for replica in self._replicas]
        known = [one.vocab_size for one in facts if one.vocab_size is not None]
        self._vocab_size = min(known, default=None)
        self._dtype = facts[0].dtype
        self._max_context = min(one.max_context for one in facts)

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        """Sample one completion; see :class:`~proofgym.agents.engine.Engine`."""
        await self.start()
        ids = [int(one) for one in prompt_ids]
        room = check_request(ids, sampling, self.max_context, self._vocab_size)
        request = TokenRequest(
            ids=ids,
            sampling=replace(sampling, max_tokens=min(sampling.max_tokens, room)),
            seed=derive(seed, "vllm"),
            request_id=uuid4().hex,
            priority=priority,
        )
        dropped = 0
        while True:
            await self._gate()
            self._check_open()
            up = [replica for replica in self._replicas if replica.up]
            if not up:
                await self._recovered(self._replicas[0], ServerLostError("no server is up"))
                continue
            chosen = self._router.take(ids, up)
            try:
                adapter = self._adapter[0] if self._adapter else None
                return await chosen.generate(request, adapter, self._version)
            except ServerLostError as error:
                lost = error
            finally:
                self._router.give_back(chosen)
            self._check_open()
            if await self._only_dropped(chosen):
                dropped += 1
                request = await self._afresh(request, chosen, lost, dropped)
                continue
            chosen.mark_down()
            recovered = self._recovered(chosen, lost)
            if len(up) == 1:
                await recovered

    async def _only_dropped(self, replica: Replica) -> bool:
        """Say whether a server whose connection was lost is up with its weights all the same."""
        check = self._checks.get(replica)
        if check is None:  # one for all the connections that were lost at once
            check = asyncio.get_running_loop().create_task(self._check(replica))
            self._checks[replica] = check
            check.add_done_callback(lambda _: self._checks.pop(replica))
        await asyncio.wait([check])  # which neither cancels the check, nor is cancelled with it
        self._check_open()
        return check.result()

    async def _check(self, replica: Replica) -> bool:
        while True:
            await self._gate()  # a load that is under way finds out itself, and names the weights
            version = self._base_version
            found = replica.up and await replica.serves(version)
            if found or (self._open is None and version == self._base_version):
                return found

    async def _afresh(
        self, request: TokenRequest, replica: Replica, lost: ServerLostError, dropped: int
    ) -> TokenRequest:
        """Wait a little, and return the request under another name.

        The server may not have noticed that nobody listens, so the old one is ended.

        Raises:
            EngineError: it is this request's connection that is lost again and again.
        """
        if dropped > _MOST_DROPS:
            raise EngineError(
                f"expected an answer to a request, got {dropped} lost connections in a row, and "
                f"{replica.client.url} is healthy. Does something between here and it, such as a "
                f"proxy, cut what takes long? The last: {lost}"
            ) from lost
        logger.warning("%s; the server is healthy, so the request is asked again", lost)
        try:
            await replica.abort([request.request_id])
        except EngineError as error:
            logger.warning("the old request may run on: %s", error)
        await asyncio.sleep(_DROP_PAUSE_S * 2**dropped)
        return replace(request, request_id=uuid4().hex)

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        """Send new weights to every server, forget all keys and values, and go on.

        Args:
            weights: tensors by the checkpoint's names, all of them.
            version: of the weights from now on.

        Returns:
            The fingerprint of what the servers' workers handed to their models.

        Raises:
            EngineError: no weights were given, or a server cannot take them.
            WeightSyncError: two workers received different bytes.
        """
        self._check_open()
        if not weights:
            raise EngineError(
                "load needs the weights: a server shares no memory with the learner, got none."
            )
        await self.start()
        self._transfer.stage(weights)
        self._version = self._base_version = version
        self._loaded = self._adapter = None
        self._hold("load")
        try:
            try:
                printed = await self._push(self._replicas)
            except ServerLostError as error:
                printed = await self._push_again(error)
        finally:
            self._release("load")
        self._loaded = printed
        return printed

    async def load_adapter(self, folder: Path, version: int) -> None:
        """Serve a LoRA adapter on top of the base weights, under a fresh name.

        A name is never used twice: vLLM keeps keys and values by the adapter's name. Requests
        in flight end under the adapter that they began with, and carry its version.

        Args:
            folder: as peft's ``save_pretrained`` writes it, readable by the servers.
            version: of the policy from now on.
        """
        await self.start()
        name = f"{self.config.model_name}@{version}"
        body = {"lora_name": name, "lora_path": str(folder)}
        await self._post_all("/v1/load_lora_adapter", body, phase="load adapter")
        self._adapter, self._version = (name, folder), version
        self._adapters.append(name)
        while len(self._adapters) > 2:  # the one before may still be sampled with
            body = {"lora_name": self._adapters.pop(0)}
            await self._post_all("/v1/unload_lora_adapter", body, phase="unload adapter")

    async def pause(self) -> None:
        """Stop sampling until :meth:`resume`; requests wait."""
        await self.start()
        self._hold("pause")
        query = {"mode": "keep", "clear_cache": "false"}
        await self._post_all("/pause", phase="pause", query=query)

    async def resume(self) -> None:
        """Sample again."""
        self._release("pause")
        await self._post_all("/resume", phase="resume")

    async def close(self) -> None:
        """End the requests in flight with what they have, then the servers that are ours."""
        if self._closed:
            return
        self._closed = True
        self._holds.clear()
        self._open_gate()
        under_way = [*self._recoveries.values(), *self._checks.values()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._drain()
        for one in self._replicas:
            await one.stop()
        self._transfer.close()
        self._scratch.cleanup()

    async def _push(self, replicas: Sequence[Replica]) -> Fingerprint:
        """Transfer what is staged to servers that are up."""
        clients = [replica.client for replica in replicas]
        query = {"mode": self.config.in_flight.value, "clear_cache": "true"}
        seconds = self.config.deadlines.request  # to wait for requests, where it does
        await self._post_all(
            "/pause", phase="pause", query=query, seconds=seconds, replicas=replicas
        )
        await self._each(lambda replica: replica.on_workers("proofgym_watch"), replicas)
        await self._post_all("/start_weight_update", phase="start update", replicas=replicas)
        await self._transfer.send(clients)
        body = {"weight_version": str(self._base_version)}
        await self._post_all("/finish_weight_update", body, phase="finish", replicas=replicas)
        answers = await self._each(
            lambda replica: replica.on_workers("proofgym_fingerprint"), replicas
        )
        prints = [self._print(one) for answer in answers for one in answer]
        await self._each(_forget_prefixes, replicas)
        if "pause" not in self._holds:
            await self._post_all("/resume", phase="resume", replicas=replicas)
        if len({one.digest for one in prints}) != 1:
            raise WeightSyncError(
                "expected every worker to receive the same weights, got the digests "
                f"{', '.join(one.digest[:16] for one in prints)}."
            )
        return prints[0]

    async def _push_again(self, error: ServerLostError) -> Fingerprint:
        """Transfer once more, after bringing back whichever servers were lost."""
        for one in self._replicas:
            if not await one.living():
                await one.lost(error)
                await one.bring_up()
        return await self._push(self._replicas)

    def _print(self, answer: Mapping[str, Any]) -> Fingerprint:
        sums = {name: float(total) for name, total in answer["sums"].items()}
        return Fingerprint(version=self._base_version, sums=sums, digest=answer["digest"])

    def _recovered(self, lost: Replica, error: ServerLostError) -> asyncio.Future[None]:
        """Bring a server back, once for all the requests that it lost."""
        task = self._recoveries.get(lost)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._recover(lost, error))
            self._recoveries[lost] = task
            task.add_done_callback(lambda done: self._recovery_ended(lost, done))
        return asyncio.shield(task)

    def _recovery_ended(self, lost: Replica, task: asyncio.Task[None]) -> None:
        self._recoveries.pop(lost, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stays down: %s", lost.client.url, error)

    async def _recover(self, lost: Replica, error: ServerLostError) -> None:
        await self._gate()  # a load that is under way brings it back itself
        while not lost.up:
            await lost.lost(error)
            try:
                await self._bring_back(lost)
            except ServerLostError as again:
                lost.mark_down()
                error = again

    async def _bring_back(self, lost: Replica) -> None:
        await lost.bring_up()
        if await lost.weight_label() == str(self._base_version):
            return  # the connection was lost, and the server was not
        self._router.forget(lost)
        if self._loaded is not None:
            self._check_same(await self._push([lost]), self._loaded)
        elif self._dummy:
            raise EngineError("a server was lost before it was given any weights.")
        await lost.label(self._base_version)
        await self._adapt(lost)

    async def _adapt(self, replica: Replica) -> None:
        if self._adapter is not None:
            name, folder = self._adapter
            body = {"lora_name": name, "lora_path": str(folder)}
            await replica.client.call("/v1/load_lora_adapter", body, phase="load adapter")

    def _check_same(self, got: Fingerprint, expected: Fingerprint) -> None:
        if got.digest != expected.digest:
            raise WeightSyncError(
                f"a server that was started again must get version {expected.version} with the "
                f"digest {expected.digest[:16]}, got {got.digest[:16]}: the learner's tensors have "
                "moved on, and this transfer keeps no copy. Use engine.transfer = 'shm'."
            )

    async def _drain(self) -> None:
        """End the requests in flight; one that the server does not know yet is ended later."""
        end = asyncio.get_running_loop().time() + _CLOSE_S
        up = [replica for replica in self._replicas if replica.up]
        while any(self._router.load(replica) for replica in up):
            try:
                await self._each(lambda replica: replica.abort_all(), up)
            except EngineError as error:
                logger.warning("closing without ending the requests in flight: %s", error)
                return
            if asyncio.get_running_loop().time() > end:
                logger.warning("requests still in flight %g s after their abort", _CLOSE_S)
                return
            await asyncio.sleep(0.05)

    async def _post_all(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        replicas: Sequence[Replica] | None = None,
        **options: Any,
    ) -> None:
        def post(replica: Replica) -> Awaitable[Any]:
            _check_route(replica, path)
            return replica.client.call(path, body, **options)

        await self._each(post, self._replicas if replicas is None else replicas)

    async def _each(
        self, work: Callable[[Replica], Awaitable[Any]], replicas: Iterable[Replica]
    ) -> list[Any]:
        """Do work for every replica at once; the first error is raised when all have ended."""
        done = await asyncio.gather(*map(work, replicas), return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine is closed; make a new one.")

    def _hold(self, why: str) -> None:
        self._holds.add(why)
        if self._open is None:
            self._open = asyncio.Event()

    def _release(self, why: str) -> None:
        self._holds.discard(why)
        if not self._holds:
            self._open_gate()

    def _open_gate(self) -> None:
        gate, self._open = self._open, None
        if gate is not None:
            gate.set()

    async def _gate(self) -> None:
        """Wait while the engine is paused or takes weights: vLLM 0.33 refuses requests then."""
        while self._open is not None:
            await self._open.wait()


def _check_route(replica: Replica, path: str) -> None:
    if path not in replica.facts.routes:
        raise EngineError(
            f"{replica.client.url} (vLLM {replica.facts.version}) must have the route {path}, and "
            "has not. Start it with VLLM_SERVER_DEV_MODE=1 (for weights) or --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 (for adapters)."
        )


async def _forget_prefixes(replica: Replica) -> None:
    """Drop keys and values of the old weights; vLLM keeps them over an update (0.32)."""
    query = {"reset_running_requests": "true"}
    content = await replica.client.call("/reset_prefix_cache", phase="reset cache", query=query)
    if isinstance(content, dict) and not content.get("success", True):
        raise EngineError(
            f"{replica.client.url} must forget its prefix cache after new weights, and did not: "
            "keys and values of the old weights would be read."
        )
