"""The app as a visitor sees it, in headless Chromium: from playwright, `chromium` of the path, or
`HFPOSE_CHROMIUM`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest

from hfpose.hub.resolve import PACKAGED_SCENES

playwright = pytest.importorskip("playwright.sync_api")


# An image that moves, and no question whether it may be used.
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    path = os.environ.get("HFPOSE_CHROMIUM") or shutil.which("chromium")
    with playwright.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *FAKE_CAMERA])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "model"), [(1400, "demo"), (400, "demo3d")])
def test_a_visitor_uploads_an_image_sees_the_result_and_downloads_it(app_url, browser, width, model, tmp_path):
    page = browser.new_page(viewport={"width": width, "height": 900})
    hosts = set()
    page.on(
        "request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None
    )
    page.goto(app_url)
    page.get_by_label("Model").first.click()
    page.get_by_role("option", name=model, exact=True).click()
    page.locator("input[type=file]").first.set_input_files(PACKAGED_SCENES / "300.jpg")
    page.get_by_role("button", name="Remove").or_(page.get_by_label("Remove Image")).first.wait_for()
    page.get_by_role("button", name="Find poses").first.click()
    page.get_by_text("3 found").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="KB").first.click()
    download.value.save_as(tmp_path / "300.json")
    assert len(json.loads((tmp_path / "300.json").read_text())["predictions"]) == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert hosts == {app_url.split("/")[2]}  # no fonts, no scripts from elsewhere
    page.screenshot(path=tmp_path / "app.png", full_page=True)


def test_the_webcam_is_drawn(app_url, browser):
    page = browser.new_context(permissions=["camera"]).new_page()
    page.goto(app_url)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_text("Record", exact=True).click()
    page.locator(".image-frame img:visible").wait_for(timeout=60_000)
    page.get_by_text("Stop", exact=True).click()
