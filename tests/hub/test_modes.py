from __future__ import annotations

from typing import get_args

import pytest

from hfpose.errors import ConfigError
from hfpose.hub.modes import _PAIRS, Mode, models_for_mode
from hfpose.hub.zoo import get_entry

MODES = get_args(Mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alias", _PAIRS)
def test_every_pair_is_in_the_zoo(alias: str, mode: str) -> None:
    pose, detector = models_for_mode(alias, mode)
    entry = get_entry(pose, "pose")
    assert entry.schema == get_entry(alias, "pose").schema
    assert entry.supported and entry.checkpoint_url
    if detector is None:
        assert entry.default_detector is None
        return
    found = get_entry(detector, "detector")
    wanted = get_entry(str(entry.default_detector), "detector")
    assert found.checkpoint_url
    assert set(found.labels) & {wanted.labels[index] for index in entry.detector_labels or ()}


def test_pairs_are_those_of_rtmlib() -> None:
    """By the hashes of the weights: `rtmlib.tools.solution`."""
    expected = {
        ("human", "performance"): ("71d7b7e9", "a39d44ed"),
        ("body17", "balanced"): ("e48f03d0", "c2c7a14a"),
        ("body26", "lightweight"): ("7f134165", "6f3252f9"),
        ("hand", "lightweight"): ("74fb594", "267f9c8f"),
    }
    for (alias, mode), hashes in expected.items():
        pose, detector = models_for_mode(alias, mode)
        assert (get_entry(pose).sha256_prefix, get_entry(str(detector)).sha256_prefix) == hashes


@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        ("human", "fast", "lightweight, balanced, performance"),
        ("vitpose", "balanced", "vitpose"),
        ("?", "balanced", "'?'"),
    ],
)
def test_what_has_no_modes_is_named(name: str, mode: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        models_for_mode(name, mode)
