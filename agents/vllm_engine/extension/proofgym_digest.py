"""Sum and digest tensors where they lie; the same file runs in the trainer and in vLLM's worker.

It imports nothing but torch, because vLLM's Python need not have proofgym.

A tensor's bytes are read as 32-bit integers a_0, a_1, ... (the last one filled up with zeros),
and give two sums modulo 2**64, each with a weight of its own for every position. Integer sums
come out the same on any device, in any order and in any chunks; no byte is copied to the host.

- first = sum(a_i * G**i): since G is 5 modulo 8, G**i - G**j is divisible by 2**33 for no
  i != j below 2**31, and a difference of two integers of 32 bits is below 2**32. So one integer
  that changed, and two that changed places, are always seen (in tensors of up to 8 GiB).
- second = sum(a_i * r_i), with r_i the product of two odd pseudo-random numbers, for the
  position in the row and for the row: what has the structure that the first sum is blind to.

That finds accidents. It is no defence against somebody who makes weights with a given digest.
For the digest of the whole, names, sizes and sums go through SHA-256.

Letters: C integers in a row, R rows, B integers in a block of rows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_G = 6364136223846793005  # 5 modulo 8; Knuth's multiplier (MMIX)
_COLUMNS = 4096
_BLOCK_ROWS = {"cpu": 16}  # as long as the cache holds
_BLOCK_ROWS_ELSEWHERE = 2048  # 32 MiB, of which 128 MiB are made
_WORD = 1 << 64
_HOST = torch.device("cpu")  # named, because vLLM loads models under another default


@dataclass(frozen=True, eq=False)
class TensorDigest:
    """What a tensor holds.

    Args:
        size: in bytes.
        sums: three int64 on the tensor's device: the two sums of the bytes, and the bits of the
            float64 sum of the values. To read them waits for the device.
    """

    size: int
    sums: Tensor


def digest_tensor(tensor: Tensor) -> TensorDigest:
    """Sum a tensor's bytes and values on its device, and do not wait for it.

    Args:
        tensor: of any real dtype; it is copied only where it is not contiguous.
    """
    flat = tensor.detach().contiguous().reshape(-1)
    sums = torch.cat([_byte_sums(flat.view(torch.uint8)), _value_sum(flat).view(torch.int64)])
    return TensorDigest(size=flat.numel() * flat.element_size(), sums=sums)


def sums_and_digest(tensors: Mapping[str, TensorDigest]) -> tuple[dict[str, float], str]:
    """Bring what :func:`digest_tensor` gave for each name to the host.

    Returns:
        The float64 sum of every tensor's values, by name; and the SHA-256, in hex, of every
        name with its size and the sums of its bytes, in the order of the names.
    """
    sums: dict[str, float] = {}
    content = hashlib.sha256()
    for name in sorted(tensors):
        first, second, bits = tensors[name].sums.tolist()
        line = f"{name} {tensors[name].size} {first % _WORD:016x} {second % _WORD:016x}\n"
        content.update(line.encode())
        sums[name] = float(torch.tensor(bits, device=_HOST).view(torch.float64))
    return sums, content.hexdigest()


def _byte_sums(bytes_: Tensor) -> Tensor:
    row = 4 * _COLUMNS
    whole = bytes_.numel() // row * row
    height = _BLOCK_ROWS.get(bytes_.device.type, _BLOCK_ROWS_ELSEWHERE)
    blocks = [_row_sums(block) for block in torch.split(_words(bytes_[:whole]), height)]
    if whole < bytes_.numel():
        last = bytes_.new_zeros(row)
        last[: bytes_.numel() - whole] = bytes_[whole:]
        blocks.append(_row_sums(_words(last)))
    sums_R2 = torch.cat(blocks)
    _, weights_R2 = _weights(bytes_.device, _power_of_two(len(sums_R2)))
    return (sums_R2 * weights_R2[: len(sums_R2)]).sum(0)


def _words(bytes_: Tensor) -> Tensor:
    """View bytes as rows of integers; those that do not begin on one are moved."""
    aligned = bytes_.data_ptr() % 4 == bytes_.storage_offset() % 4 == 0
    return (bytes_ if aligned else bytes_.clone()).view(torch.int32).view(-1, _COLUMNS)


def _row_sums(words_RC: Tensor) -> Tensor:
    weights_2C, _ = _weights(words_RC.device, 1)
    if words_RC.device.type == "cpu":
        return _row_sums_on_host(words_RC, weights_2C)
    return _row_sums_elsewhere(words_RC, weights_2C)


def _row_sums_on_host(words_RC: Tensor, weights_2C: Tensor) -> Tensor:
    """Multiply a matrix with vectors: the fastest on the host, and on no other device for int64."""
    wide_RC = words_RC.long()
    return torch.stack([wide_RC.mv(weights_C) for weights_C in weights_2C], dim=1)


def _row_sums_elsewhere(words_RC: Tensor, weights_2C: Tensor) -> Tensor:
    """Multiply and sum in two kernels: what counts is how few they are."""
    return (words_RC[:, None] * weights_2C).sum(-1)


def _value_sum(flat: Tensor) -> Tensor:
    """Sum in float64, by parts: converted whole, a tensor takes four times its bytes."""
    part = 1 << 16 if flat.device.type == "cpu" else 1 << 24
    sums = [one.double().sum() for one in torch.split(flat, part)]
    return torch.stack(sums).sum(0, keepdim=True)


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


@lru_cache(maxsize=64)
def _weights(device: torch.device, rows: int) -> tuple[Tensor, Tensor]:
    """Return the weights of a row's positions, shaped 2C, and those of rows, shaped R2."""
    columns_2C = torch.stack([_powers(_G, _COLUMNS), _noise(_COLUMNS, 2)])
    by_row = [_powers(pow(_G, _COLUMNS, _WORD), rows), _noise(rows, 1)]
    return columns_2C.to(device), torch.stack(by_row, dim=1).to(device)


def _powers(base: int, count: int) -> Tensor:
    """Return base**0, base**1, ... modulo 2**64; ``count`` is a power of two."""
    powers = torch.ones(1, dtype=torch.int64, device=_HOST)
    while len(powers) < count:
        powers = torch.cat([powers, powers * _signed(pow(base, len(powers), _WORD))])
    return powers


def _noise(count: int, seed: int) -> Tensor:
    """Return odd numbers: the output of SplitMix64 (Steele, Lea, Flood 2014), made odd."""
    place = torch.arange(1, count + 1, dtype=torch.int64, device=_HOST)
    state = place * _signed(0x9E3779B97F4A7C15) + _signed(seed << 40)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ _shifted(state, shift)) * _signed(factor)
    return (state ^ _shifted(state, 31)) | 1


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Shift right, filling up with zeros; torch fills up with the sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    return number - _WORD if number >= _WORD >> 1 else number
