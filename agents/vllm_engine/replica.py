"""One vLLM server as the engine sees it: found or started, checked, and brought back when lost."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from proofgym.agents.engine import Completion
from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.client import ServerClient, ServerLostError
from proofgym.agents.vllm_engine.config import VLLMConfig
from proofgym.agents.vllm_engine.launch import check_in_flight
from proofgym.agents.vllm_engine.server_process import ServerProcess
from proofgym.agents.vllm_engine.server_version import check_version
from proofgym.agents.vllm_engine.token_wire import (
    COMPLETIONS,
    GENERATE,
    TokenRequest,
    abort_ids,
    body_of,
    completion_of,
)

logger = logging.getLogger(__name__)

_LONGEST_BACKOFF_S = 30.0
_HEALTH_PAUSES_S = (0.2, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of itself.

    Args:
        version: of vLLM.
        routes: the paths that it has.
        versions_each_token: whether its completions say which weights drew each token.
        max_context: the most tokens of prompt and completion.
        vocab_size: None without our worker extension.
        dtype: of its weights, as torch names it; None without our worker extension.
    """

    version: str
    routes: frozenset[str]
    versions_each_token: bool
    max_context: int
    vocab_size: int | None
    dtype: str | None


class Replica:
    """One server.

    Args:
        config: of the engine.
        client: talks to the server.
        start: starts its process; None where somebody else runs it.
    """

    def __init__(
        self,
        config: VLLMConfig,
        client: ServerClient,
        start: Callable[[], ServerProcess] | None,
    ) -> None:
        self.config = config
        self.client = client
        self.failures = 0
        self.restarts = 0
        self.process: ServerProcess | None = None
        self._start = start
        self._facts: ServerFacts | None = None
        self._up = False
        self._served: set[str] = set()

    @property
    def facts(self) -> ServerFacts:
        """What the server said when it came up."""
        assert self._facts is not None, "bring_up comes first"
        return self._facts

    @property
    def up(self) -> bool:
        """Whether the server was healthy when last seen."""
        return self._up

    async def bring_up(self) -> None:
        """Start the server, or wait for it, and check that it can be used.

        Raises:
            EngineError: it does not come up, or cannot be used; its last output is quoted.
        """
        deadlines = self.config.deadlines
        if self._start is not None:
            if self.process is not None and not await self.living():
                self.process.kill()
                self.process = None
            if self.process is None:
                self.process = self._start()
            await self.process.ready(self.client, deadlines.start)
        else:
            await self._wait_for_health(deadlines.start)
        self._facts = await self._ask_facts()
        url, facts = self.client.url, self._facts
        check_version(facts.version, allow_untested=self.config.allow_untested_version)
        check_in_flight(
            self.config.in_flight, versions_each_token=facts.versions_each_token, url=url
        )
        self._up = True

    def mark_down(self) -> None:
        """Take no requests until :meth:`bring_up`."""
        self._up = False

    async def living(self) -> bool:
        """Ask for the server's health, more than once: a single connection may fail."""
        for pause in (*_HEALTH_PAUSES_S, None):
            if self.process is not None and not self.process.alive:
                return False
            if await self.client.healthy():
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        return False

    async def serves(self, version: int) -> bool:
        """Say whether the server lives, and is the one that was given these weights.

        A server without names for its weights, which somebody else runs, may be another than
        before: that is a no.
        """
        if not await self.living():
            return False
        try:
            label = await self.weight_label()
        except EngineError:
            return False
        return label == str(version) if label is not None else self.process is not None

    async def lost(self, error: ServerLostError) -> None:
        """Count a failure and wait out the back-off.

        Raises:
            EngineError: it failed too often in a row.
        """
        self.failures += 1
        if self.failures > self.config.launch.restarts:
            raise EngineError(
                f"{self.client.url} failed {self.failures} times in a row, more than "
                f"engine.launch.restarts = {self.config.launch.restarts} allows. The last: {error}"
                f"{self._last_output()}"
            ) from error
        pause = min(2.0 ** (self.failures - 1) - 1.0, _LONGEST_BACKOFF_S)  # 0, 1, 3, 7, ... s
        logger.warning("%s; trying again in %.0f s", error, pause)
        await asyncio.sleep(pause)
        self.restarts += 1

    async def generate(
        self, request: TokenRequest, adapter: str | None, version: int
    ) -> Completion:
        """Sample one completion.

        Args:
            request: what to sample.
            adapter: to sample with; None is the base model.
            version: of the policy. Where an adapter draws, or a server does not say which weights
                drew each token, it is the version of all tokens.
        """
        path = GENERATE if GENERATE in self.facts.routes else COMPLETIONS
        self._served.add(request.request_id)
        try:
            content = await self.client.call(
                path,
                body_of(request, path=path, model=adapter or self.config.model_name),
                phase="generate",
                seconds=self.config.deadlines.request,
            )
        finally:
            self._served.discard(request.request_id)
        self.failures = 0
        return completion_of(content, version=version, spans=adapter is None)

    async def abort_all(self) -> None:
        """End the requests that this engine has here; each returns what it has so far."""
        await self.abort(self._served)

    async def abort(self, request_ids: Iterable[str]) -> None:
        """End requests; those that have ended are passed over.

        Raises:
            EngineError: the server has no route for it, or was lost.
        """
        ids = [one for request_id in request_ids for one in abort_ids(request_id)]
        routes = ("/abort_requests", "/inference/v1/abort_requests")
        path = next((one for one in routes if one in self.facts.routes), None)
        if not ids:
            return
        if path is None:
            raise EngineError(
                f"{self.client.url} has no route to abort requests; start it with "
                "VLLM_SERVER_DEV_MODE=1 or --enable-scale-out."
            )
        await self.client.post(path, {"request_ids": ids}, phase="abort")

    async def on_workers(self, method: str) -> list[dict[str, Any]]:
        """Call a method of our worker extension; one result for each worker."""
        content = await self.client.call("/collective_rpc", {"method": method}, phase=method)
        return list(content["results"])

    async def label(self, version: int) -> None:
        """Name the weights that the server has now, where it can tell its tokens apart."""
        if self.facts.versions_each_token:
            body = {"new_version": str(version)}
            await self.client.call("/update_weight_version", body, phase="label weights")

    async def weight_label(self) -> str | None:
        """Return the name of the weights that the server has now; None where it has no names."""
        if "/weight_info" not in self.facts.routes:
            return None
        info = (await self.client.get("/weight_info", phase="weight label")).content
        return str(info["weight_version"])

    async def stop(self) -> None:
        """End the server if it is ours."""
        self._up = False
        await self.client.close()
        if self.process is not None:
            await self.process.stop()
            self.process = None

    async def _wait_for_health(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        pause = 0.1
        while not await self.client.healthy():
            if asyncio.get_running_loop().time() > end:
                raise EngineError(
                    f"phase 'health' of {self.client.url} must end within {seconds:g} s, and did "
                    "not. Start it, or take it out of engine.urls."
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _ask_facts(self) -> ServerFacts:
        client = self.client
        version = (await client.get("/version", phase="version")).content
        if not isinstance(version, dict) or "version" not in version:
            raise EngineError(f"expected a vLLM server at {client.url}, got no /version from it.")
        schema = (await client.get("/openapi.json", phase="routes")).content
        models = (await client.get("/v1/models", phase="models")).content
        if not isinstance(schema, dict) or not isinstance(models, dict) or "data" not in models:
            raise EngineError(
                f"expected {client.url} to list its routes and models, got {str(models)[:200]}. "
                "Does it want a key (engine.api_key_file)?"
            )
        by_name = {model["id"]: model for model in models["data"]}
        name = self.config.model_name
        if name not in by_name:
            raise EngineError(
                f"engine.model_name must be one that {client.url} serves ({', '.join(by_name)}), "
                f"got {name!r}."
            )
        routes = frozenset(schema["paths"])
        served = await self._served_model(routes)
        spans = {"/update_weight_version", GENERATE} <= routes
        return ServerFacts(
            version=str(version["version"]),
            routes=routes,
            versions_each_token=spans and "weight_versions" in str(schema["components"]),
            max_context=int(by_name[name]["max_model_len"]),
            vocab_size=served.get("vocab_size"),
            dtype=served.get("dtype"),
        )

    async def _served_model(self, routes: frozenset[str]) -> dict[str, Any]:
        if "/collective_rpc" not in routes:
            return {}
        try:
            return (await self.on_workers("proofgym_describe"))[0]
        except ServerLostError:
            raise
        except EngineError:
            return {}  # a server without our extension: it samples, and takes no weights

    def _last_output(self) -> str:
        return f"\n{self.process.tail()}" if self.process is not None else ""
