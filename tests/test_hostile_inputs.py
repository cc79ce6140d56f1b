"""A sample of the hostile and broken inputs of `hostile_inputs.py`; `make test-slow` tries them all."""

from __future__ import annotations

import pytest

from hostile_inputs import try_all


@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_inputs_do_no_harm(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [verdict for verdict in try_all(every) if verdict.fault] == []
