"""Push weights to a real vLLM, and say where the time goes.

Run: ``python benchmarks/weight_push.py [--pushes 3] [--dtype bfloat16] [--digest-only]``, after
``make vllm``. It starts one server on the CPU (half a minute) with a random Qwen3 of 108 M
parameters, and pushes a float32 learner's weights through ``push_weights``. Of every phase the
best of several pushes is shown: in CPU seconds where the learner alone works, and in wall seconds
where the server does.

The server's digest is taken while it loads. What it costs is the difference to an update that
nobody watches.

The plan for larger models is arithmetic: phases that touch every byte grow with the bytes, the
canary with the parameters, and the others stay. The digests' rates come last, beside SHA-256 and a
float64 sum on the host, which is what they replaced; on a GPU too, where there is one.
"""

import argparse
import asyncio
import contextlib
import hashlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.agents import weight_sync
from proofgym.agents.tiny_policy import tiny_tokenizer
from proofgym.agents.vllm_engine import VLLMConfig, VLLMEngine
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.extension.proofgym_digest import digest_tensor, sums_and_digest
from proofgym.agents.vllm_engine.shared_memory import SharedMemoryTransfer

SIZE = Qwen3Config(
    architectures=["Qwen3ForCausalLM"],
    vocab_size=32768,
    hidden_size=768,
    intermediate_size=2304,
    num_hidden_layers=12,
    num_attention_heads=12,
    num_key_value_heads=4,
    head_dim=64,
    tie_word_embeddings=True,
    max_position_embeddings=512,
)
BY_BYTES = ("cast", "fingerprint", "stage", "update weights", "server's fingerprint", "finish")
BY_PARAMETERS = ("canary",)
MODELS = {"0.6B": 0.596e9, "1.7B": 1.72e9, "8B": 8.19e9, "32B": 32.8e9}
"""Qwen3's, with the parameters that are sent."""

_SHOWN = {"proofgym_watch": "watch", "proofgym_fingerprint": "ask for the server's fingerprint"}


@dataclass(slots=True)
class Clock:
    """Seconds by phase, one entry a push."""

    pushes: list[dict[str, float]] = field(default_factory=list)

    def begin(self) -> None:
        self.pushes.append(defaultdict(float))

    @contextlib.contextmanager
    def phase(self, name: str, now: Callable[[], float] = time.perf_counter) -> Iterator[None]:
        started = now()
        try:
            yield
        finally:
            if self.pushes:
                self.pushes[-1][name] += now() - started

    def best(self) -> dict[str, float]:
        return {name: min(one[name] for one in self.pushes) for name in self.pushes[-1]}


def watch(clock: Clock) -> None:
    """Time the parts of a push from outside: the calls by phase, and the learner's work."""
    call, stage = ServerClient.call, SharedMemoryTransfer.stage
    fingerprint, canary = weight_sync.fingerprint, weight_sync.canary_difference

    async def timed_call(self: ServerClient, path: str, *rest: Any, **options: Any) -> Any:
        if path.startswith(("/inference", "/v1")):
            return await call(self, path, *rest, **options)  # the canary's
        with clock.phase(options["phase"]):
            return await call(self, path, *rest, **options)

    def timed_stage(self: SharedMemoryTransfer, weights: Mapping[str, Any]) -> None:
        with clock.phase("stage", time.process_time):
            stage(self, weights)

    def timed_fingerprint(tensors: Mapping[str, Tensor], version: int) -> Any:
        with clock.phase("fingerprint", time.process_time):
            return fingerprint(tensors, version)

    async def timed_canary(engine: Any, model: Any) -> float:
        with clock.phase("canary"):
            return await canary(engine, model)

    ServerClient.call = timed_call  # type: ignore[method-assign]  # to watch, not to change
    SharedMemoryTransfer.stage = timed_stage  # type: ignore[method-assign]  # likewise
    weight_sync.fingerprint = timed_fingerprint
    weight_sync.canary_difference = timed_canary


async def measure(dtype: torch.dtype, pushes: int) -> tuple[dict[str, float], int, int]:
    """Return the best seconds by phase, the bytes that are sent, and the parameters."""
    clock = Clock()
    watch(clock)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(SIZE)
    transfer = SharedMemoryTransfer()
    with tempfile.TemporaryDirectory(prefix="proofgym-push-") as folder:
        SIZE.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        launch = {"device": "cpu", "dtype": str(dtype).removeprefix("torch."), "slots": 4}
        config = VLLMConfig.model_validate({"launch": launch})
        engine = VLLMEngine(config, model=Path(folder), dummy_weights=True, transfer=transfer)
        try:
            await engine.start()
            await weight_sync.push_weights(engine, model, 1, dtype=dtype)  # a warm-up
            for version in range(2, 2 + pushes):
                clock.begin()
                with clock.phase("cast", time.process_time):
                    for parameter in model.parameters():
                        parameter.detach().to(dtype)
                await weight_sync.push_weights(engine, model, version, dtype=dtype)
            parts = clock.best()
            unwatched = [await update_unwatched(engine, transfer) for _ in range(pushes)]
        finally:
            await engine.close()
    watched = parts["update weights"]
    parts["update weights"] = min(unwatched)
    parts["server's fingerprint"] = watched - min(unwatched)
    tensors = [tensor for _, tensor in model.named_parameters()]
    parameters = sum(tensor.numel() for tensor in tensors)
    return parts, parameters * torch.empty((), dtype=dtype).element_size(), parameters


async def update_unwatched(engine: VLLMEngine, transfer: SharedMemoryTransfer) -> float:
    """Send the same weights again, with nobody to digest them; return the update's seconds."""
    client = engine._replicas[0].client
    await client.call("/pause", phase="pause", query={"mode": "keep"})
    await client.call("/start_weight_update", phase="start update")
    started = time.perf_counter()
    await transfer.send([client])
    seconds = time.perf_counter() - started
    await client.call("/finish_weight_update", {"weight_version": "1"}, phase="finish")
    await client.call("/resume", phase="resume")
    return seconds


def show_push(parts: dict[str, float], size: int, parameters: int) -> None:
    whole = sum(parts.values())
    print(f"\n{parameters / 1e6:.0f} M parameters, {size / 1e6:.0f} MB sent: {whole:.2f} s a push")
    print("| phase | ms | ms a MB |\n|---|---|---|")
    for name, seconds in parts.items():
        rate = f"{seconds * 1e9 / size:.3f}" if name in BY_BYTES else ""
        print(f"| {_SHOWN.get(name, name)} | {seconds * 1e3:.1f} | {rate} |")
    print("\nBy arithmetic, with these rates (shared memory, this CPU), in seconds:")
    print("| model | bytes | " + " | ".join(BY_BYTES) + " | canary | rest | whole |")
    print("|---" * (len(BY_BYTES) + 5) + "|")
    fixed = sum(parts.values()) - sum(parts[name] for name in (*BY_BYTES, *BY_PARAMETERS))
    for name, count in MODELS.items():
        factor = count / parameters
        cells = [parts[one] * factor for one in (*BY_BYTES, *BY_PARAMETERS)]
        cells += [fixed, sum(cells) + fixed]
        shown = " | ".join(f"{one:.2f}" for one in cells)
        print(f"| {name} | {size * factor / 1e9:.1f} GB | {shown} |")


def show_digests(device: str, dtype: torch.dtype) -> None:
    """Compare the digests' rates over tensors of 4 to 64 MB."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(n, 1024) for n in (2048, 4096, 8192, 32768)] * (4 if device == "cuda" else 1)
    tensors = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    size = sum(one.numel() * one.element_size() for one in tensors)

    def sha() -> None:
        for tensor in tensors:
            plain = tensor.cpu()
            hashlib.sha256(plain.view(torch.uint8).numpy().data).hexdigest()

    def total() -> None:
        for tensor in tensors:
            float(tensor.cpu().sum(dtype=torch.float64))

    def ours() -> None:
        sums_and_digest({str(n): digest_tensor(one) for n, one in enumerate(tensors)})

    works = {"SHA-256 on the host": sha, "float64 sum on the host": total, "both, ours": ours}
    print(f"\n{size / 1e6:.0f} MB of {dtype} on {device}:")
    for name, work in works.items():
        seconds = seconds_of(work, time.process_time if device == "cpu" else time.perf_counter)
        print(f"- {name}: {seconds * 1e9 / size:.4f} ms a MB, {size / seconds / 1e9:.2f} GB/s")


def seconds_of(work: Callable[[], None], now: Callable[[], float], rounds: int = 5) -> float:
    """Return the fewest seconds of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = now()
        work()
        best = min(best, now() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pushes", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--digest-only", action="store_true")
    options = parser.parse_args()
    dtype: torch.dtype = getattr(torch, options.dtype)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.dtype}")
    if not options.digest_only:
        show_push(*asyncio.run(measure(dtype, options.pushes)))
    show_digests("cpu", dtype)
    if torch.cuda.is_available():
        show_digests("cuda", dtype)


if __name__ == "__main__":
    main()
