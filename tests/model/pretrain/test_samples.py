"""d-pixels keep what was seen, come back from files, and are shuffled by the seed alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.pretrain.samples import (
    Samples,
    SamplesError,
    Series,
    concatenate,
    decode_samples,
    encode_samples,
    samples_of,
)
from tessera_mosaic.model.pretrain.shuffle import Shuffled
from tests.model.pretrain.seasons import fields


def same(one: Samples, other: Samples) -> bool:
    return encode_samples(one) == encode_samples(other)


def test_a_pixel_keeps_its_valid_observations_in_the_order_of_the_stack() -> None:
    stack = Stack(
        bands=np.arange(3 * 2 * 10, dtype=np.uint16).reshape(3, 1, 2, 10),
        masks=np.array([[[1, 0]], [[0, 0]], [[1, 1]]], np.uint8),
        doys=np.array([10, 20, 30], np.uint16),
        sar_ascending=np.array([[[[5, 0], [0, 0]]]], np.int16),
        sar_ascending_doy=np.array([40], np.int16),
        sar_descending=np.array([[[[0, 7], [8, 9]]]], np.int16),
        sar_descending_doy=np.array([4], np.int16),
    )
    samples = samples_of(stack, np.array([1, 0]), np.zeros((2, 4), np.int32))
    assert samples.s2.counts.tolist() == [1, 2]
    assert samples.s2.days.tolist() == [30, 10, 30]
    assert np.array_equal(samples.s2.values, stack.bands[[2, 0, 2], 0, [1, 0, 0]])
    assert samples.s1.counts.tolist() == [1, 2]
    assert samples.s1.values.tolist() == [[8, 9], [5, 0], [0, 7]]
    assert samples.s1.kinds.tolist() == [1, 0, 1]
    assert samples.s1.days.tolist() == [4, 40, 4]


def test_files_hold_the_same_d_pixels_as_the_same_bytes() -> None:
    samples = fields(count=4)
    data = encode_samples(samples)
    assert same(decode_samples(data, "file"), samples)
    assert encode_samples(fields(count=4)) == data
    parts = [samples.take(np.arange(30)), samples.take(np.arange(30, 100))]
    assert same(concatenate(parts), samples)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda s: s.with_s2(counts=s.s2.counts + 1), "do not fit"),
        (lambda s: s.with_s2(days=s.s2.days * 0), "1..366"),
        (lambda s: s.with_s2(kinds=s.s2.kinds + 1), "no known kind"),
        (lambda s: s.with_s2(values=s.s2.values[:, :9]), "not uint16"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(damage, says) -> None:
    class Damaged(Samples):
        def with_s2(self, **changes: np.ndarray) -> Samples:
            return dataclasses.replace(self, s2=dataclasses.replace(self.s2, **changes))

    samples = fields(count=1)
    damaged = damage(
        Damaged(**{f.name: getattr(samples, f.name) for f in dataclasses.fields(samples)})
    )
    with pytest.raises(SamplesError, match=says):
        decode_samples(encode_samples(damaged), "file")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04N."])
def test_bytes_that_are_no_d_pixels_are_refused(data: bytes) -> None:
    with pytest.raises(SamplesError, match="holds no d-pixels"):
        decode_samples(data, "file")


def numbered(first: int, count: int) -> Samples:
    """d-pixels that are told apart by their row."""
    nothing = np.zeros(count, np.int32)
    places = np.stack([nothing, np.arange(first, first + count), nothing, nothing], 1)

    def empty(channels: int, dtype: type) -> Series:
        return Series(
            np.zeros((0, channels), dtype), np.zeros(0, np.int16), np.zeros(0, np.uint8), nothing
        )

    samples = Samples(empty(10, np.uint16), empty(2, np.int16), places, nothing, nothing)
    return dataclasses.replace(samples, places=places.astype(np.int32))


SHARDS = {f"{n}.npz": numbered(100 * n, 10 + n) for n in range(9)}


def stream(**changes: int) -> Shuffled:
    lengths = {name: len(samples) for name, samples in SHARDS.items()}
    arguments = {"batch": 7, "buffer": 40, "seed": 1, **changes}
    return Shuffled(lengths, lambda name: encode_samples(SHARDS[name]), **arguments)


def rows(shuffled: Shuffled, steps: int, start: int = 0) -> list[list[int]]:
    batches = shuffled.batches(start)
    return [next(batches).places[:, 1].tolist() for _ in range(steps)]


def test_an_epoch_has_every_pixel_at_most_once_in_full_batches() -> None:
    pixels = sum(map(len, SHARDS.values()))
    epoch = pixels // 7
    got = rows(stream(), 2 * epoch)
    assert {len(batch) for batch in got} == {7}
    for part in (got[:epoch], got[epoch:]):
        seen = [row for batch in part for row in batch]
        assert len(set(seen)) == len(seen) > pixels - 7
    assert got[:epoch] != got[epoch:]


def test_a_batch_mixes_pixels_of_many_files() -> None:
    files = [len({row // 100 for row in batch}) for batch in rows(stream(buffer=1000), 15)]
    assert np.mean(files) > 3


@pytest.mark.parametrize("start", [0, 1, 6, 17, 18, 41])
def test_a_stream_starts_anywhere_as_if_it_had_run_from_the_beginning(start: int) -> None:
    assert rows(stream(), 50 - start, start) == rows(stream(), 50)[start:]


def test_processes_share_an_epoch_without_a_pixel_in_common() -> None:
    shares = [stream(rank=rank, processes=2) for rank in range(2)]
    steps = shares[0].steps(epoch=0)
    assert steps == shares[1].steps(epoch=0) > 5
    seen = [{row for batch in rows(share, steps) for row in batch} for share in shares]
    assert not seen[0] & seen[1]


def test_too_little_to_train_on_is_refused() -> None:
    with pytest.raises(SamplesError, match="do not fill a batch"):
        stream(batch=1000)
    with pytest.raises(SamplesError, match="cannot be shared by 10"):
        stream(processes=10)
