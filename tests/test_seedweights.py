"""Seeded tensors are numpy's frozen streams, to the bit."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from seedweights import array_for, tensor_for


@pytest.mark.parametrize("shape", [(), (3, 5), (32769,), (1, 32768), (70, 33, 31)])
def test_arrays_are_those_of_the_legacy_stream(shape: tuple[int, ...]) -> None:
    expected = np.random.RandomState(zlib.crc32(b"x")).standard_normal(shape)
    np.testing.assert_array_equal(array_for("x", shape), np.asarray(expected, np.float32))


def test_weights_are_scaled_before_they_are_rounded() -> None:
    expected = np.random.RandomState(zlib.crc32(b"a.weight")).standard_normal((60, 70, 3, 3)) * (1.5 / 630) ** 0.5
    np.testing.assert_array_equal(tensor_for("a.weight", (60, 70, 3, 3)), expected.astype(np.float32))
