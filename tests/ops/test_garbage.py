"""Times without garbage collection."""

from __future__ import annotations

import gc

import pytest

from hfpose.ops.garbage import without_garbage_collection


def test_garbage_is_collected_afterwards_as_it_was_before():
    assert gc.isenabled()
    with pytest.raises(ValueError), without_garbage_collection(), without_garbage_collection():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
    gc.disable()
    try:
        with without_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
