"""The app as a Space, pushed to a hub on the loopback interface."""

from __future__ import annotations

from huggingface_hub import HfApi

from command_line import run_command
from hfpose.hub import uploads
from hub_server import TOKEN, USER, HubServer


def test_the_app_is_pushed_with_what_a_space_needs(tmp_path, monkeypatch):
    with HubServer(tmp_path) as server:
        monkeypatch.setattr(uploads, "HfApi", lambda **options: HfApi(server.url, **options))
        upload = uploads.push_space(f"{USER}/pose", token=TOKEN)
        files = server.repository(f"{USER}/pose").commit_at("main")["files"]
    assert set(files) >= {"README.md", "app.py", "requirements.txt"} and upload.revision


def test_a_dry_run_tells_what_would_go_up():
    result = run_command("push-space", "me/pose", "--dry-run")
    assert result.returncode == 0
    assert "me/pose (dry run" in result.stdout and "app.py" in result.stdout and "requirements.txt" in result.stdout
