"""The app on the loopback interface, with the packaged models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMITS = {"megabytes": 5, "megapixels": 4.0, "seconds": 3.0}


@pytest.fixture(scope="session", autouse=True)
def gradio_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Gradio keeps what is uploaded and made; its client leaves a folder in the temporary one for each
    download."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "cache"))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="session")
def app_url() -> Iterator[str]:
    """Where the app listens."""
    pytest.importorskip("gradio")
    pytest.importorskip("plotly")
    import hfpose
    from hfpose.app import AppLimits, build_app, launch

    hfpose.register()
    limits = AppLimits(**LIMITS)
    app = build_app(("demo", "demo3d"), limits, device="cpu")
    _, url, _ = launch(app, limits, prevent_thread_lock=True, quiet=True)
    yield url
    app.close()
