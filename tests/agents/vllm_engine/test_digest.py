"""The digest of weights: one definition in plain integers, and no accident that it overlooks."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proofgym.agents.transformers_engine.fingerprint import fingerprint
from proofgym.agents.vllm_engine.extension import proofgym_digest
from proofgym.agents.vllm_engine.extension.proofgym_digest import digest_tensor, sums_and_digest

WORD = 1 << 64
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8]


def noise(count: int, seed: int) -> list[int]:
    """SplitMix64, as its authors wrote it, made odd."""
    found, state = [], seed << 40
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % WORD
        found.append(mixed ^ (mixed >> 31) | 1)
    return found


def plain_sums(content: bytes) -> tuple[int, int]:
    """Sum as the module's docstring says, one integer at a time."""
    content += bytes(-len(content) % 4)
    words = [
        int.from_bytes(content[at : at + 4], "little", signed=True)
        for at in range(0, len(content), 4)
    ]
    columns, rows = noise(4096, 2), noise(len(words) // 4096 + 1, 1)
    base = 6364136223846793005
    first = sum(word * pow(base, at, WORD) for at, word in enumerate(words))
    second = sum(w * columns[i % 4096] * rows[i // 4096] for i, w in enumerate(words))
    return first % WORD, second % WORD


def content_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def digest(tensor: Tensor) -> str:
    return sums_and_digest({"w": digest_tensor(tensor)})[1]


def byte_sums(tensor: Tensor) -> list[int]:
    return digest_tensor(tensor).sums.tolist()[:2]


def drawn(dtype: torch.dtype, count: int, seed: int = 0) -> Tensor:
    """Draw bytes, and call them numbers of the type."""
    generator = torch.Generator().manual_seed(seed)
    size = count * torch.empty((), dtype=dtype).element_size()
    return torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 3, 4096, 4097, 70_001])
def test_the_sums_are_those_of_plain_integers(dtype: torch.dtype, count: int) -> None:
    tensor = drawn(dtype, count)
    first, second, _ = digest_tensor(tensor).sums.tolist()

    assert digest_tensor(tensor).size == tensor.numel() * tensor.element_size()
    assert (first % WORD, second % WORD) == plain_sums(content_of(tensor))


@pytest.mark.parametrize("rows", [1, 3, 16, 4096])
def test_the_size_of_the_chunks_changes_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = drawn(torch.float32, 100_003)
    expected = digest(tensor)
    monkeypatch.setattr(proofgym_digest, "_BLOCK_ROWS", {"cpu": rows})
    assert digest(tensor) == expected


def test_the_kernels_of_the_host_and_of_other_devices_agree() -> None:
    words = drawn(torch.int32, 5 * 4096).view(5, 4096)
    weights, _ = proofgym_digest._weights(words.device, 1)
    on_host = proofgym_digest._row_sums_on_host(words, weights)
    assert torch.equal(proofgym_digest._row_sums_elsewhere(words, weights), on_host)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda one: one.reshape(96, 64).t().contiguous().t().reshape(96, 64),
    "a column's view": lambda one: torch.stack([one, one], dim=1)[:, 0],
    "behind an odd offset": lambda one: torch.cat([one[:1], one])[1:],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_only_the_values_count_and_not_how_they_lie(
    dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    tensor = drawn(dtype, 96 * 64)
    assert digest(layout(tensor)) == digest(tensor)


counts = st.integers(1, 20_000)


@settings(deadline=None)
@given(st.sampled_from(DTYPES), counts, st.integers(0, 2**31), st.integers(0, 2**31))
def test_one_flipped_bit_is_seen_by_both_sums(
    dtype: torch.dtype, count: int, place: int, seed: int
) -> None:
    tensor = drawn(dtype, count, seed)
    before = byte_sums(tensor)
    raw = tensor.view(torch.uint8)
    raw[place // 8 % len(raw)] ^= 1 << place % 8
    after = byte_sums(tensor)

    assert before[0] != after[0]
    assert before[1] != after[1]


@settings(deadline=None)
@given(st.sampled_from(DTYPES), counts, st.integers(0, 2**31), st.integers(0, 2**31))
def test_two_elements_that_changed_places_are_seen(
    dtype: torch.dtype, count: int, one: int, other: int
) -> None:
    tensor = drawn(dtype, count)
    one, other = one % count, other % count
    before, content = digest(tensor), content_of(tensor)
    tensor[[one, other]] = tensor[[other, one]]

    assert (digest(tensor) == before) == (content_of(tensor) == content)


@pytest.mark.parametrize("bit", [0, 15, 31], ids="bit {}".format)
@pytest.mark.parametrize("apart", [2**power for power in range(17)])
def test_the_worst_pair_to_change_places_is_seen_by_the_first_sum(bit: int, apart: int) -> None:
    """Two words that differ in one bit alone, at places whose weights differ the least."""
    tensor = torch.zeros(2**16 + 1, dtype=torch.int32)
    tensor[0] = -(2**31) if bit == 31 else 2**bit
    before = byte_sums(tensor)[0]
    tensor[[0, apart]] = tensor[[apart, 0]]
    assert byte_sums(tensor)[0] != before


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "rows moved by one": lambda one: one.roll(1, 0),
    "two rows swapped": lambda one: one[[1, 0, *range(2, len(one))]],
    "transposed": lambda one: one.t().contiguous().reshape(one.shape),
    "signs flipped": lambda one: -one,
    "backwards": lambda one: one.flip(0, 1),
    "one row twice": lambda one: one[[0, 0, *range(2, len(one))]],
    "zeros at the end": lambda one: torch.cat([one, torch.zeros_like(one[:1])]),
    "the last row missing": lambda one: one[:-1],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("columns", [48, 4096])
def test_parts_that_moved_within_a_tensor_are_seen_by_both_sums(
    columns: int, change: Callable[[Tensor], Tensor]
) -> None:
    tensor = torch.randn(64, columns, generator=torch.Generator().manual_seed(1)).bfloat16()
    changed = change(tensor)
    assert digest(changed) != digest(tensor)
    if changed.numel() == tensor.numel():
        before, after = byte_sums(tensor), byte_sums(changed)
        assert before[0] != after[0]
        assert before[1] != after[1]


def test_tensors_under_each_others_names_are_seen() -> None:
    a, b = torch.ones(8), torch.zeros(8)
    assert fingerprint({"a": a, "b": b}, 1).digest != fingerprint({"a": b, "b": a}, 1).digest
    assert fingerprint({"a": a, "b": b}, 1) == fingerprint({"b": b, "a": a}, 1)
    assert fingerprint({"a": a}, 1).digest != fingerprint({"c": a}, 1).digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_values_are_summed_in_float64(dtype: torch.dtype) -> None:
    tensor = torch.arange(-1000, 199_000).to(dtype)
    sums, _ = sums_and_digest({"w": digest_tensor(tensor)})
    assert sums["w"] == pytest.approx(float(tensor.sum(dtype=torch.float64)), rel=1e-12)


def test_a_default_device_does_not_matter() -> None:
    """VLLM's loader runs under one that may be ``meta``."""
    proofgym_digest._weights.cache_clear()
    with torch.device("meta"):
        made = digest(ones := torch.ones(5, device="cpu"))
    assert made == digest(ones)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gpu_gives_the_hosts_digest(dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    for count in (1, 4097, 70_001, 5_000_001):
        tensor = drawn(dtype, count)
        assert digest(tensor.cuda()) == digest(tensor)
