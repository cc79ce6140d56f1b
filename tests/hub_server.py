"""A Hugging Face Hub on the loopback interface for tests: enough of its HTTP interface for the real client to create
repositories, commit, list and download. Repositories are kept on disk and survive the server.

Run the client with the environment of `HubServer.environment`, in a process of its own: huggingface_hub reads its
settings when it is imported. Xet is switched off there, so that large files go over the Git LFS interface.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from file_server import LoopbackHandler, LoopbackServer

TOKEN = "hf_testtesttesttesttesttesttesttest"
USER = "tester"
LFS_SUFFIXES = (".safetensors", ".bin", ".pth", ".png")
MAX_BODY_BYTES = 64 << 20


class NotFoundError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Repository:
    """Commits of one repository in a folder: `commits.json` (oldest first) and `blobs/<sha256>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def commits(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "commits.json").read_text())  # type: ignore[no-any-return]

    def create(self) -> None:
        (self.folder / "blobs").mkdir(parents=True)
        self._save([{"id": hashlib.sha1(str(self.folder).encode()).hexdigest(), "files": {}, "message": "initial"}])

    def _save(self, commits: list[dict[str, Any]]) -> None:
        (self.folder / "commits.json").write_text(json.dumps(commits))

    def commit_at(self, revision: str) -> dict[str, Any]:
        for commit in reversed(self.commits):
            if revision in (commit.get("branch", "main"), commit["id"]):
                return commit
        raise NotFoundError("RevisionNotFound")

    def create_branch(self, branch: str) -> None:
        """A branch, or the reference of a pull request, that begins where main is; one that is there stays as it
        is."""
        if any(branch == commit.get("branch") for commit in self.commits):
            return
        start = self.commit_at("main")
        self._save([*self.commits, {**start, "id": hashlib.sha1(branch.encode()).hexdigest(), "branch": branch}])

    def store(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / sha256).write_bytes(data)
        return sha256

    def read(self, sha256: str) -> bytes:
        return (self.folder / "blobs" / sha256).read_bytes()

    def commit(self, changed: dict[str, dict[str, Any] | None], message: str, branch: str = "main") -> str:
        """Add a commit; `changed` gives the new description of each file, or None to delete it."""
        last = self.commit_at(branch)
        files = {**last["files"], **changed}
        files = {path: described for path, described in files.items() if described is not None}
        identity = json.dumps([last["id"], files, message], sort_keys=True).encode()
        commit = {"id": hashlib.sha1(identity).hexdigest(), "files": files, "message": message, "branch": branch}
        self._save([*self.commits, commit])
        return str(commit["id"])

    def describe(self, data: bytes, path: str) -> dict[str, Any]:
        lfs = path.endswith(LFS_SUFFIXES)
        git_hash = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return {"sha256": self.store(data), "size": len(data), "lfs": lfs, "oid": git_hash}


class _HubHandler(LoopbackHandler):
    def do_HEAD(self) -> None:
        self._dispatch()

    def do_GET(self) -> None:
        self._dispatch()

    def do_POST(self) -> None:
        self._dispatch()

    def do_PUT(self) -> None:
        self._dispatch()

    def do_DELETE(self) -> None:
        self._dispatch()

    def _dispatch(self) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        path = urlsplit(self.path).path
        self.body = self._read_body()
        try:
            for route_method, pattern, name, needs_token in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and method == route_method:
                    if needs_token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                        self._json({"error": "Invalid credentials"}, 401)
                        return
                    with self.owner.lock:
                        getattr(self, name)(*(unquote(part) for part in match.groups()))
                    return
            self._json({"error": f"{method} {path} is not known here"}, 404)
        except NotFoundError as error:
            self._json({"error": error.code}, 404, {"X-Error-Code": error.code, "X-Error-Message": error.code})
        except OSError:  # the client went away
            self.close_connection = True

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(100).split(b";")[0], 16):
                body += self.rfile.read(min(size, MAX_BODY_BYTES))
                self.rfile.readline(10)
            self.rfile.readline(10)
            return body
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES))

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repository(self, repo_id: str) -> Repository:
        repository = self.owner.repository(repo_id)
        if not repository.folder.is_dir():
            raise NotFoundError("RepoNotFound")
        return repository

    # --- reading

    def whoami(self) -> None:
        self._json({"type": "user", "name": USER, "fullname": USER, "orgs": [], "auth": {"accessToken": {}}})

    def repo_info(self, repo_id: str, revision: str = "main") -> None:
        commit = self._repository(repo_id).commit_at(revision)
        siblings = [{"rfilename": path} for path in commit["files"]]
        self._json({"id": repo_id, "modelId": repo_id, "sha": commit["id"], "private": False, "siblings": siblings})

    def tree(self, repo_id: str, revision: str, folder: str | None = None) -> None:
        files = self._repository(repo_id).commit_at(revision)["files"]
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() in ("1", "true")
        prefix = f"{folder.strip('/')}/" if folder else ""
        listed = [
            self._file_info(path, described)
            for path, described in files.items()
            if path.startswith(prefix) and (recursive or "/" not in path.removeprefix(prefix))
        ]
        self._json(listed)

    def paths_info(self, repo_id: str, revision: str) -> None:
        files = self._repository(repo_id).commit_at(revision)["files"]
        kind = self.headers.get("Content-Type", "")
        asked = json.loads(self.body) if "json" in kind else parse_qs(self.body.decode())
        self._json([self._file_info(path, files[path]) for path in asked["paths"] if path in files])

    @staticmethod
    def _file_info(path: str, described: dict[str, Any]) -> dict[str, Any]:
        info = {"type": "file", "path": path, "size": described["size"], "oid": described["oid"]}
        if described["lfs"]:
            info["lfs"] = {"oid": described["sha256"], "size": described["size"], "pointerSize": 130}
        return info

    def resolve(self, repo_id: str, revision: str, path: str) -> None:
        if repo_id in self.owner.gated:
            self._json({"error": "restricted"}, 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            return
        repository = self._repository(repo_id)
        commit = repository.commit_at(revision)
        headers = {"X-Repo-Commit": commit["id"]}
        described = commit["files"].get(path)
        if described is None:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", **headers})
            return
        data, status = repository.read(described["sha256"]), 200
        headers["ETag"] = f'"{described["sha256"] if described["lfs"] else described["oid"]}"'
        headers["Accept-Ranges"] = "bytes"
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data = data[start:]
        self._send(data, status, headers)

    # --- writing

    def create_repo(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        repository = self.owner.repository(repo_id)
        if repository.folder.is_dir():
            self._json({"error": "You already created this model repo", "url": f"{self.owner.url}/{repo_id}"}, 409)
            return
        repository.create()
        self._json({"url": f"{self.owner.url}/{repo_id}", "name": repo_id, "id": repo_id})

    def validate_yaml(self) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, repo_id: str, revision: str) -> None:
        files = self._repository(repo_id).commit_at(revision)["files"]
        answer = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
            info = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in files:
                described = files[file["path"]]
                info["oid"] = described["sha256"] if described["lfs"] else described["oid"]
            answer.append(info)
        self._json({"files": answer})

    def lfs_batch(self, repo_id: str) -> None:
        repository = self._repository(repo_id)
        objects = []
        for item in json.loads(self.body)["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if not (repository.folder / "blobs" / item["oid"]).exists():
                answer["actions"] = {"upload": {"href": f"{self.owner.url}/_lfs/{repo_id}/{item['oid']}"}}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def lfs_upload(self, repo_id: str, sha256: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            self._json({"error": "wrong content"}, 400)
            return
        self._repository(repo_id).store(self.body)
        self._json({})

    def commit(self, repo_id: str, revision: str) -> None:
        repository = self._repository(repo_id)
        asks_for_review = parse_qs(urlsplit(self.path).query).get("create_pr") == ["1"]
        if asks_for_review:
            revision = "refs/pr/1"
            repository.create_branch(revision)
        changed: dict[str, dict[str, Any] | None] = {}
        message = ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                changed[value["path"]] = repository.describe(base64.b64decode(value["content"]), value["path"])
            elif item["key"] == "lfsFile":
                changed[value["path"]] = repository.describe(repository.read(value["oid"]), value["path"])
            elif item["key"] == "deletedFile":
                changed[value["path"]] = None
        commit = repository.commit(changed, message, revision)
        answer = {"success": True, "commitOid": commit, "commitUrl": f"{self.owner.url}/{repo_id}/commit/{commit}"}
        if asks_for_review:
            answer["pullRequestUrl"] = f"{self.owner.url}/{repo_id}/discussions/1"
        self._json(answer)

    def create_branch(self, repo_id: str, branch: str) -> None:
        self._repository(repo_id).create_branch(branch)
        self._json({})


_REPO = r"([^/]+/[^/]+)"
_ROUTES = [  # method, path, handler, whether a token is needed
    ("GET", "/api/whoami-v2", "whoami", True),
    ("GET", f"/api/models/{_REPO}", "repo_info", False),
    ("GET", f"/api/models/{_REPO}/revision/([^/]+)", "repo_info", False),
    ("GET", f"/api/models/{_REPO}/tree/([^/]+)", "tree", False),
    ("GET", f"/api/models/{_REPO}/tree/([^/]+)/(.+)", "tree", False),
    ("POST", f"/api/models/{_REPO}/paths-info/([^/]+)", "paths_info", False),
    ("GET", f"/{_REPO}/resolve/([^/]+)/(.+)", "resolve", False),
    ("POST", "/api/repos/create", "create_repo", True),
    ("POST", "/api/validate-yaml", "validate_yaml", False),
    ("POST", f"/api/(?:models|spaces)/{_REPO}/preupload/([^/]+)", "preupload", True),
    ("POST", f"/{_REPO}.git/info/lfs/objects/batch", "lfs_batch", True),
    ("PUT", f"/_lfs/{_REPO}/([0-9a-f]{{64}})", "lfs_upload", False),
    ("POST", f"/api/(?:models|spaces)/{_REPO}/commit/([^/]+)", "commit", True),
    ("POST", f"/api/models/{_REPO}/branch/([^/]+)", "create_branch", True),
]


class HubServer(LoopbackServer):
    """`with HubServer(folder) as hub: ...`; each repository lies in `folder/<organization>/<name>`."""

    handler = _HubHandler

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.gated: set[str] = set()  # repositories of which no file may be read

    def repository(self, repo_id: str) -> Repository:
        organization, name = repo_id.split("/")
        if {organization, name} & {"", ".", ".."}:
            raise NotFoundError("RepoNotFound")
        return Repository(self.folder / organization / name)

    def publish(self, repo_id: str, files: dict[str, bytes]) -> str:
        """Commit files without a client, under any path, hostile ones included; gives the commit's id."""
        repository = self.repository(repo_id)
        if not repository.folder.is_dir():
            repository.create()
        return repository.commit({path: repository.describe(data, path) for path, data in files.items()}, "publish")

    def publish_folder(self, repo_id: str, folder: Path) -> str:
        """Commit all files of a folder."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        return self.publish(repo_id, files)

    def environment(self, home: Path) -> dict[str, str]:
        """Environment variables of a client that knows only this hub, and keeps everything below `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
        }
