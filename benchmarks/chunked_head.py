"""Peak memory and time of the chunked LM head beside the full softmax.

Every measurement has a process of its own, whose peak resident memory is read before and after one
forward and backward pass. Run: python benchmarks/chunked_head.py [tokens] [vocabulary] [hidden]
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from proofgym.trainers.chunked_head import LogitShape, token_logprobs

REPEATS = 3


def full(hidden_NH: Tensor, head: nn.Linear, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Score by the whole softmax at once."""
    logp_NV = torch.log_softmax(head(hidden_NH), dim=-1)
    with torch.no_grad():
        entropy_N = -(logp_NV.exp() * logp_NV).sum(-1)
    return logp_NV.gather(1, target_N[:, None]).squeeze(1), entropy_N


def chunked(hidden_NH: Tensor, head: nn.Linear, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Score by the learner's head."""
    return token_logprobs(hidden_NH, head, target_N, LogitShape())


SCORERS: dict[str, Callable[[Tensor, nn.Linear, Tensor], tuple[Tensor, Tensor]]] = {
    "full softmax": full,
    "chunked head": chunked,
}


def measure(name: str, sizes: tuple[int, int, int], out: Connection) -> None:
    """Send the best CPU time, the growth of the peak in MiB, and a sum to compare by."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokens, vocabulary, hidden_size = sizes
    head = nn.Linear(hidden_size, vocabulary, bias=False)
    hidden_NH = torch.randn(tokens, hidden_size, requires_grad=True)
    target_N = torch.randint(vocabulary, (tokens,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = float("inf")
    for _ in range(REPEATS):
        hidden_NH.grad = head.weight.grad = None
        started = time.process_time()
        logp_N, _ = SCORERS[name](hidden_NH, head, target_N)
        logp_N.sum().backward()  # type: ignore[no-untyped-call]
        best = min(best, time.process_time() - started)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    out.send((best, grown, float(logp_N.detach().sum())))


def main() -> int:
    """Print one line for each scorer, and the ratios."""
    tokens, vocabulary, hidden_size = map(int, [*sys.argv[1:], "4096", "32768", "256"][:3])
    context = multiprocessing.get_context("spawn")
    found: dict[str, tuple[float, float, float]] = {}
    print(f"{tokens} tokens, {vocabulary} words, hidden size {hidden_size}, float32, 1 CPU thread")
    for name in SCORERS:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(
            target=measure, args=(name, (tokens, vocabulary, hidden_size), theirs)
        )
        child.start()
        theirs.close()
        found[name] = ours.recv()
        child.join()
        seconds, mebibytes, total = found[name]
        print(f"{name}: {seconds:.2f} s of CPU, {mebibytes:.0f} MiB of peak, sum {total:.2f}")
    full_s, full_mib, _ = found["full softmax"]
    chunked_s, chunked_mib, _ = found["chunked head"]
    print(f"memory {full_mib / chunked_mib:.1f} times less, time {chunked_s / full_s:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
