"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the reference's goldens, photographs and clips, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference data in ../shared, which is not beside this checkout")
    return SHARED
