"""From names to model folders: local, cached, on the Hub, or fetched and converted."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id

from checkpoint_host import ZOO_FILE, CheckpointHost, use_zoo, zoo_environment
from fake_conversion import convert, converted_weights, safetensors_file
from file_server import Fault
from hfpose.errors import CheckpointError, ConfigError, DownloadError, UnknownModelError
from hfpose.hub import downloads, zoo
from hfpose.hub import resolve as hub
from hfpose.hub.cache import list_cached
from hfpose.hub.model_folders import child_path
from hub_server import HubServer
from processes import RunningPython

NAME = "rtmdet_nano_320-8xb32_hand"
CHECKPOINT = bytes(range(256)) * 512  # read by the stand-in conversion below, and by nothing else


def model_files(**config: object) -> dict[str, bytes]:
    return {
        "config.json": json.dumps({"model_type": "rtmdet", **config}).encode(),
        "model.safetensors": safetensors_file(b"1234"),
    }


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_convert_checkpoint", convert)
    for name in ("HFPOSE_NAMESPACE", "HFPOSE_CHECKPOINT_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CheckpointHost]:
    with CheckpointHost() as host:
        host.add(NAME, CHECKPOINT)
        use_zoo(host.write_zoo(tmp_path / "zoo.json"))
        yield host
    use_zoo(ZOO_FILE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


CHILD = """
import json, os, sys, time
sys.path.insert(0, os.environ["TESTS"])
from pathlib import Path
from fake_conversion import convert
from hfpose.hub import resolve as hub

def slow_convert(name, checkpoint, folder):
    with open(os.environ["CONVERSIONS"], "a") as log:
        print(name, file=log)
    if os.environ.get("HANG"):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"the beginning")
        Path(os.environ["HANG"]).touch()
        time.sleep(60)
    convert(name, checkpoint, folder)

hub._convert_checkpoint = slow_convert
options = json.loads(os.environ.get("OPTIONS", "{}"))
try:
    folder = hub.resolve(sys.argv[1], **options)
except Exception as error:
    print(type(error).__name__, error)
else:
    print(folder)
    print(sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()))
"""


class Child:
    """A process that resolves one name, with an environment of its own below `tmp_path`."""

    def __init__(self, name: str, tmp_path: Path, **environment: str) -> None:
        self.tmp_path = tmp_path
        variables = {
            "HF_HOME": str(tmp_path / "home"),
            "TESTS": str(Path(__file__).parents[1]),
            "CONVERSIONS": str(tmp_path / "conversions.txt"),
            **(zoo_environment(tmp_path / "zoo.json") if (tmp_path / "zoo.json").exists() else {}),
            **environment,
        }
        self.process = RunningPython(CHILD, tmp_path, variables, (name,))

    def output(self) -> str:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


def wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- local folders


def test_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "model", model_files())
    assert hub.resolve(folder) == folder
    assert hub.resolve(str(folder)) == folder


@pytest.mark.parametrize("name", ["demo", "human", "folder"])
def test_revision_of_what_is_no_repository_is_refused(name: str, tmp_path: Path) -> None:
    place = write_files(tmp_path / "model", model_files()) if name == "folder" else name
    with pytest.raises(ConfigError, match=r"revision is 'v1', but .* Leave revision out"):
        hub.resolve(place, "pose", revision="v1")


def test_folder_of_a_pipeline_is_taken(tmp_path: Path) -> None:
    files = {f"pose/{name}": data for name, data in model_files().items()}
    folder = write_files(tmp_path / "pipeline", {hub.PIPELINE_INDEX: b"{}", **files})
    assert hub.resolve(folder) == folder


def test_folder_named_like_an_alias_goes_first_if_it_holds_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "human", model_files())
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("human", "pose") == Path("human")


def test_folder_of_images_does_not_hide_an_alias(
    host: CheckpointHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "hand", {"photo.jpg": b""})
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("hand", "detector").name == NAME


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"holds neither a model nor a pipeline: it has no config\.json"):
        hub.resolve(tmp_path)


@pytest.mark.parametrize("name", ["./nothing", "/nothing/there", "~/nothing", "../nothing"])
def test_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(UnknownModelError, match="There is no folder"):
        hub.resolve(name)


def test_checkpoint_instead_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"weights")
    with pytest.raises(UnknownModelError, match=r"is a file.*hfpose convert NAME --checkpoint FILE"):
        hub.resolve(path)


def test_folder_with_pickled_weights_only(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "model", {"config.json": b"{}", "pytorch_model.bin": b"weights"})
    with pytest.raises(CheckpointError, match=r"no weights as safetensors.*can run code"):
        hub.resolve(folder)


@pytest.mark.parametrize("shard", ["../../other.safetensors", "/etc/passwd", r"..\x", "C:\\x", "a/../../x", ""])
def test_index_that_leads_out_of_its_folder(tmp_path: Path, shard: str) -> None:
    index = json.dumps({"weight_map": {"layer.weight": shard}}).encode()
    folder = write_files(tmp_path / "model", {**model_files(), "model.safetensors.index.json": index})
    with pytest.raises(CheckpointError, match="lies outside of that folder"):
        hub.resolve(folder)


@pytest.mark.parametrize(
    "index", [b"[]", b"{", b'{"weight_map": 3}', b'{"weight_map": {"a": 1}}', b"\xff", b"[" * 99999]
)
def test_index_that_is_none(tmp_path: Path, index: bytes) -> None:
    folder = write_files(tmp_path / "model", {**model_files(), "model.safetensors.index.json": index})
    with pytest.raises(CheckpointError, match="is no index of weight files"):
        hub.resolve(folder)


@pytest.mark.parametrize("part", ["pose", "detector", "lifter"])
def test_index_of_a_pipeline_that_leads_out_of_its_folder(tmp_path: Path, part: str) -> None:
    index = json.dumps({"pose": "pose", part: "../../other"}).encode()
    files = {f"pose/{name}": data for name, data in model_files().items()}
    folder = write_files(tmp_path / "pipeline", {**files, hub.PIPELINE_INDEX: index})
    with pytest.raises(CheckpointError, match="lies outside of that folder"):
        hub.resolve(folder)


@pytest.mark.parametrize("index", [b"", b"3", b"\xff", b"[" * 99999, b" " * (17 << 20)])
def test_index_of_a_pipeline_that_is_none(tmp_path: Path, index: bytes) -> None:
    folder = write_files(tmp_path / "pipeline", {**model_files(), hub.PIPELINE_INDEX: index})
    with pytest.raises(ConfigError, match="is no index of a pipeline"):
        hub.resolve(folder)


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"\xff", b"[" * 99999, b'{"num_labels": 1000000000}', b'{"num_labels": "many"}', b" " * (17 << 20)],
)
def test_config_that_is_none(tmp_path: Path, config: bytes) -> None:
    folder = write_files(tmp_path / "model", {**model_files(), "config.json": config})
    with pytest.raises(CheckpointError, match="is no configuration of a model"):
        hub.resolve(folder)


@pytest.mark.parametrize("broken", ["cut off", "header longer than the file", "tensor beyond the file", "no header"])
def test_weights_whose_header_lies(tmp_path: Path, broken: str) -> None:
    data = model_files()["model.safetensors"]
    lies = {
        "cut off": data[:-2],
        "header longer than the file": (1 << 40).to_bytes(8, "little") + data[8:],
        "tensor beyond the file": data.replace(b"[0, 4]", b"[0, 9]").replace(b"[4]", b"[9]"),
        "no header": b"",
    }
    folder = write_files(tmp_path / "model", {"config.json": b"{}", "model.safetensors": lies[broken]})
    with pytest.raises(CheckpointError, match="is cut off or damaged, or no safetensors file"):
        hub.resolve(folder)


def test_child_path_within_the_folder(tmp_path: Path) -> None:
    assert child_path(tmp_path, "detector") == tmp_path / "detector"
    assert child_path(tmp_path, "parts/pose") == tmp_path / "parts/pose"


# --- official checkpoints


def test_name_is_fetched_converted_and_kept(host: CheckpointHost, tmp_path: Path) -> None:
    folder = hub.resolve("hand", "detector")
    assert folder.is_relative_to(tmp_path / "cache")
    assert converted_weights(folder) == CHECKPOINT
    assert not list((tmp_path / "cache").rglob("*.pth"))  # only the converted weights take room


def test_second_start_makes_no_request(host: CheckpointHost) -> None:
    first = hub.resolve(NAME)
    del host.requests[:]
    assert hub.resolve(NAME) == first
    assert host.requests == []


def test_mirror_takes_the_place_of_the_host(
    host: CheckpointHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.add(NAME, CHECKPOINT)
    host.item(NAME)["checkpoint_url"] = "https://checkpoints.invalid" + path
    use_zoo(host.write_zoo(tmp_path / "zoo.json"))
    host.files["/mirror" + path] = host.files.pop(path)
    monkeypatch.setenv("HFPOSE_CHECKPOINT_ENDPOINT", host.url + "/mirror/")
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT


def test_checkpoint_that_was_exchanged_at_the_host(host: CheckpointHost, tmp_path: Path) -> None:
    path = host.add(NAME, CHECKPOINT)
    host.files[path] = CHECKPOINT[::-1]
    with pytest.raises(DownloadError, match=r"is not the file that was expected.*Other ways: `hfpose download"):
        hub.resolve(NAME)
    assert list_cached() == []
    host.files[path] = CHECKPOINT
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT


FAULTS = {
    "cut": (Fault(cut_after=50_000), None),
    "cut without range support": (Fault(cut_after=50_000, no_range=True), None),
    "500": (Fault(status=500), None),
    "429 with Retry-After": (Fault(status=429, headers={"Retry-After": "7"}), None),
    "slow": (Fault(delay=0.02), None),
    "hangs once": (Fault(hang=20), None),
    "length beyond the file": (Fault(length_change=1000), None),
    "no length": (Fault(no_length=True), None),
    "always cut without range support": (Fault(cut_after=50_000, no_range=True, times=99), "50000 of 131072 bytes"),
    "wrong bytes": (Fault(corrupt=True, times=99), "is not the file that was expected"),
    "length short of the file": (Fault(length_change=-1000, times=99), "it has 130072 bytes"),
    "404": (Fault(status=404, times=99), r"There is no file at .* \(HTTP 404\)"),
    "always 500": (Fault(status=500, times=99), "could not be fetched in 5 attempts: the host answered HTTP 500"),
    "429 for an hour": (Fault(status=429, headers={"Retry-After": "3600"}, times=99), "asks to wait 3600 seconds"),
    "hangs": (Fault(hang=20, times=99), "could not be fetched in 5 attempts"),
    "absurd length": (Fault(length_change=50 << 30, times=99), "no checkpoint is as large"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_the_host_gives_the_right_model_or_none(
    host: CheckpointHost, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault, message = FAULTS[name]
    path = host.add(NAME, CHECKPOINT)
    host.add_fault(path, fault)
    if fault.hang:
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    waits: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    if message is None:
        assert converted_weights(hub.resolve(NAME)) == CHECKPOINT
        assert ("Retry-After" in name) == (waits == [7.0])
        return
    with pytest.raises(DownloadError, match=message) as caught:
        hub.resolve(NAME)
    assert f"'{NAME}' is not in the cache" in str(caught.value)
    assert list_cached() == []
    host.clear_faults()
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT  # the next start recovers


def test_checkpoint_at_hand_is_not_fetched(host: CheckpointHost, tmp_path: Path) -> None:
    path = tmp_path / "at-hand.pth"
    path.write_bytes(CHECKPOINT)
    folder = hub.convert_entry(zoo.get_entry(NAME), checkpoint=path)
    assert converted_weights(folder) == CHECKPOINT
    assert path.exists()
    assert host.requests == []


def test_checkpoint_at_hand_of_another_model(host: CheckpointHost, tmp_path: Path) -> None:
    path = tmp_path / "at-hand.pth"
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match=f"is not the official checkpoint of '{NAME}'"):
        hub.convert_entry(zoo.get_entry(NAME), checkpoint=path)
    assert list_cached() == []


def test_checkpoint_that_is_gone(host: CheckpointHost) -> None:
    host.files.clear()
    with pytest.raises(DownloadError, match=rf"'{NAME}' is not in the cache, and There is no file at .* \(HTTP 404\)"):
        hub.resolve(NAME)


def test_failed_conversion_leaves_no_model_but_the_download(
    host: CheckpointHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, checkpoint: Path, folder: Path) -> None:
        convert(name, checkpoint, folder)
        raise CheckpointError("tensors are missing")

    monkeypatch.setattr(hub, "_convert_checkpoint", fail)
    with pytest.raises(CheckpointError, match="tensors are missing"):
        hub.resolve(NAME)
    assert list_cached() == []
    monkeypatch.setattr(hub, "_convert_checkpoint", convert)
    hub.resolve(NAME)
    assert len(host.requests) == 1


def test_conversion_that_wrote_nothing_is_no_model(host: CheckpointHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_convert_checkpoint", lambda name, checkpoint, folder: folder.mkdir())
    with pytest.raises(CheckpointError, match="wrote no complete model folder"):
        hub.resolve(NAME)
    assert list_cached() == []


def test_damaged_model_in_the_cache_is_replaced(host: CheckpointHost) -> None:
    folder = hub.resolve(NAME)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT


def test_cache_that_cannot_be_written(host: CheckpointHost, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DownloadError, match=r"cannot be stored in .* HFPOSE_CACHE names another folder"):
        hub.resolve(NAME)


def test_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'wholebody'"):
        hub.resolve("wholebodi")


def test_name_of_two_stages_needs_the_task() -> None:
    with pytest.raises(UnknownModelError, match="names 2 models of the zoo"):
        hub.resolve("human")


def test_config_file_of_the_reference_names_its_model(host: CheckpointHost) -> None:
    assert hub.resolve(f"demo/mmdetection_cfg/{NAME}.py").name == NAME
    assert hub.resolve(f"./demo/{NAME}.py").name == NAME


def test_offline_it_works_from_the_cache(host: CheckpointHost, tmp_path: Path) -> None:
    folder = hub.resolve(NAME)
    assert Child(NAME, tmp_path, HF_HUB_OFFLINE="1").output().startswith(str(folder))


def test_offline_with_an_empty_cache_there_are_three_ways_out(host: CheckpointHost, tmp_path: Path) -> None:
    message = Child(NAME, tmp_path, HF_HUB_OFFLINE="1").output()
    assert message.startswith(f"DownloadError '{NAME}' is not in the cache")
    for way in ("unset HF_HUB_OFFLINE", f"`hfpose download {NAME}`", f"`hfpose convert {NAME} --checkpoint FILE"):
        assert way in message
    assert host.requests == []


@pytest.mark.slow
def test_ten_processes_at_once_fetch_and_convert_once(host: CheckpointHost, tmp_path: Path) -> None:
    path = host.add(NAME, CHECKPOINT)
    host.add_fault(path, Fault(delay=0.05))
    children = [Child(NAME, tmp_path) for _ in range(10)]
    outputs = {child.output() for child in children}
    assert len(outputs) == 1
    assert converted_weights(Path(outputs.pop().splitlines()[0])) == CHECKPOINT
    assert len(host.requests) == 1
    assert (tmp_path / "conversions.txt").read_text() == f"{NAME}\n"


def test_killed_while_downloading(host: CheckpointHost, tmp_path: Path) -> None:
    host.add_fault(host.add(NAME, CHECKPOINT), Fault(delay=0.2))
    child = Child(NAME, tmp_path)
    parts = tmp_path / "cache/downloads" / NAME
    wait_for(lambda: any(p.stat().st_size > 20_000 for p in parts.glob(".*.part")))
    child.kill()
    assert list_cached() == []
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT
    assert "Range" in host.requests[-1].headers


@pytest.mark.slow
def test_killed_while_converting(host: CheckpointHost, tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    child = Child(NAME, tmp_path, HANG=str(hangs))
    wait_for(hangs.exists)
    child.kill()
    assert list_cached() == []
    assert converted_weights(hub.resolve(NAME)) == CHECKPOINT
    assert len(host.requests) == 1
    assert [p.name for p in (tmp_path / "cache/models/v1").iterdir()] == [NAME]


# --- the Hub


def resolve_remote(name: str, server: HubServer, tmp_path: Path, **environment: str) -> str:
    return Child(name, tmp_path, **{**server.environment(tmp_path / "home"), **environment}).output()


def test_repository_by_its_id(server: HubServer, tmp_path: Path) -> None:
    server.publish("someone/model", {**model_files(), "preprocessor_config.json": b"{}"})
    listed = resolve_remote("someone/model", server, tmp_path).splitlines()[1]
    assert listed == "['config.json', 'model.safetensors', 'preprocessor_config.json']"


def test_only_what_is_safe_and_needed_is_fetched(server: HubServer, tmp_path: Path) -> None:
    extra = {"pytorch_model.bin": b"pickle", "modeling.py": b"code", "README.md": b"text", "x/weights.pth": b"pickle"}
    server.publish("someone/model", {**model_files(), **extra})
    assert "['config.json', 'model.safetensors']" in resolve_remote("someone/model", server, tmp_path)
    assert not [r.path for r in server.requests if re.search(r"\.(bin|py|pth|md)$", r.path)]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "someone/model is a BertModel model"),
        ({"model_type": "superpoint"}, "points of interest"),
        ({"model_type": "yolo99"}, "configuration of someone/model is of no model"),
        ({"model_type": "rtmpose", "hidden_size": "a"}, "configuration of someone/model is of no model"),
        ({"model_type": "rtmdet", "backbone_config": {"auto_map": {"AutoModel": "x.M"}}}, "names code"),
    ],
)
def test_what_is_not_supported_is_refused_before_its_weights_are_fetched(
    server: HubServer, tmp_path: Path, config: dict[str, object], told: str
) -> None:
    server.publish("someone/model", model_files(**config))
    assert told in resolve_remote("someone/model", server, tmp_path)
    assert not [request.path for request in server.requests if "safetensors" in request.path]


def test_repository_of_a_pipeline(server: HubServer, tmp_path: Path) -> None:
    files = {f"{part}/{name}": data for part in ("pose", "detector") for name, data in model_files().items()}
    server.publish("someone/pipeline", {**files, hub.PIPELINE_INDEX: b"{}"})
    listed = resolve_remote("someone/pipeline", server, tmp_path).splitlines()[1]
    assert hub.PIPELINE_INDEX in listed
    assert "detector/model.safetensors" in listed


@pytest.mark.slow
def test_revision_of_a_repository(server: HubServer, tmp_path: Path) -> None:
    old = server.publish("someone/model", model_files(version=1))
    server.publish("someone/model", model_files(version=2))
    output = resolve_remote("someone/model", server, tmp_path, OPTIONS=json.dumps({"revision": old}))
    assert json.loads((Path(output.splitlines()[0]) / "config.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    ("name", "options"), [("someone/nothing", {}), ("someone/model", {"revision": "no-such-branch"})]
)
def test_repository_or_revision_that_is_not_there(
    server: HubServer, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    server.publish("someone/model", model_files())
    output = resolve_remote(name, server, tmp_path, OPTIONS=json.dumps(options))
    assert output.startswith(f"UnknownModelError The Hub has no model repository '{name}'")


@pytest.mark.slow
def test_repository_without_safetensors(server: HubServer, tmp_path: Path) -> None:
    server.publish("someone/model", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert "CheckpointError" in resolve_remote("someone/model", server, tmp_path)


def test_damaged_copy_of_a_repository_says_what_to_delete(server: HubServer, tmp_path: Path) -> None:
    server.publish("someone/model", model_files())
    folder = Path(resolve_remote("someone/model", server, tmp_path).splitlines()[0])
    os.truncate(folder / "model.safetensors", 20)
    copy = tmp_path / "home/hub/models--someone--model"
    assert "is cut off or damaged" in (told := resolve_remote("someone/model", server, tmp_path))
    assert f"delete {copy}, and it is fetched again" in told
    shutil.rmtree(copy)
    assert resolve_remote("someone/model", server, tmp_path).startswith(str(folder))


def test_gated_repository_says_where_to_ask(server: HubServer, tmp_path: Path) -> None:
    server.publish("someone/model", model_files())
    server.gated.add("someone/model")
    told = resolve_remote("someone/model", server, tmp_path)
    assert told.startswith(
        f"DownloadError The hub repository 'someone/model' is gated. Ask for access at {server.url}"
    )


@pytest.mark.parametrize(
    "path", ["../../../outside.safetensors", "..\\..\\outside.safetensors", "a/../../x.safetensors"]
)
def test_repository_with_names_that_lead_out_of_it(server: HubServer, tmp_path: Path, path: str) -> None:
    files = model_files()
    server.publish("someone/model", {**files, path: files["model.safetensors"]})
    output = resolve_remote("someone/model", server, tmp_path)
    inside = tmp_path / "home/hub/models--someone--model"
    outside = [p for p in tmp_path.rglob("*.safetensors") if not p.is_relative_to(inside)]
    assert outside == []
    assert output.startswith("CheckpointError The hub repository 'someone/model' is refused")


def test_repository_with_an_index_that_leads_out_of_it(server: HubServer, tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "../../../x.safetensors"}}).encode()
    server.publish("someone/model", {**model_files(), "model.safetensors.index.json": index})
    assert "lies outside of that folder" in resolve_remote("someone/model", server, tmp_path)


def test_offline_a_repository_comes_from_the_cache_of_the_hub(server: HubServer, tmp_path: Path) -> None:
    server.publish("someone/model", model_files())
    first = resolve_remote("someone/model", server, tmp_path)
    del server.requests[:]
    assert resolve_remote("someone/model", server, tmp_path, HF_HUB_OFFLINE="1") == first
    assert server.requests == []


@pytest.mark.slow
def test_offline_with_an_empty_cache_of_the_hub(server: HubServer, tmp_path: Path) -> None:
    output = resolve_remote("someone/model", server, tmp_path, HF_HUB_OFFLINE="1")
    assert output.startswith("DownloadError The hub repository 'someone/model' is not in the cache")
    assert "`hf download someone/model`" in output


def test_pinned_repository_goes_before_the_official_checkpoint(
    host: CheckpointHost, server: HubServer, tmp_path: Path
) -> None:
    pinned = server.publish("hfpose/model", model_files(version=1))
    server.publish("hfpose/model", model_files(version=2))
    host.item(NAME).update(repository="hfpose/model", revision=pinned)
    host.write_zoo(tmp_path / "zoo.json")
    output = resolve_remote(NAME, server, tmp_path)
    assert json.loads((Path(output.splitlines()[0]) / "config.json").read_text())["version"] == 1
    assert host.requests == []
    del server.requests[:]
    assert resolve_remote(NAME, server, tmp_path) == output
    assert server.requests == []


def test_namespace_makes_names_mean_its_repositories(host: CheckpointHost, server: HubServer, tmp_path: Path) -> None:
    server.publish(f"my-org/{NAME}", model_files(mine=True))
    output = resolve_remote(NAME, server, tmp_path, HFPOSE_NAMESPACE="my-org")
    assert json.loads((Path(output.splitlines()[0]) / "config.json").read_text())["mine"]
    assert host.requests == []


@pytest.mark.slow
def test_namespace_without_the_model_says_how_to_push_it(
    host: CheckpointHost, server: HubServer, tmp_path: Path
) -> None:
    output = resolve_remote(NAME, server, tmp_path, HFPOSE_NAMESPACE="my-org")
    assert output.startswith("UnknownModelError")
    assert f"`hfpose push {NAME} --namespace my-org`" in output
    assert host.requests == []


@pytest.mark.slow
def test_namespace_that_is_none(host: CheckpointHost, server: HubServer, tmp_path: Path) -> None:
    output = resolve_remote(NAME, server, tmp_path, HFPOSE_NAMESPACE="../up")
    assert output.startswith(f"UnknownModelError '../up/{NAME}' cannot be the id of a hub repository")


def test_zoo_names_can_be_names_of_repositories() -> None:
    for entry in zoo.list_entries():
        validate_repo_id(f"some-organization/{entry.name}")


# --- the cache


def test_download_brings_what_the_pipeline_needs(host: CheckpointHost, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    names = [
        "motionbert_dstformer-ft-243frm_8xb32-120e_h36m",
        "rtmpose-m_8xb256-420e_body8-256x192",
        "rtmdet_m_640-8xb32_coco-person",
    ]
    for name in names:
        host.add(name, name.encode() + CHECKPOINT)
    use_zoo(host.write_zoo(tmp_path / "zoo.json"))
    assert [folder.name for folder in hub.download("human3d")] == names
    assert [folder.name for folder in hub.download("human")] == names[1:]


def test_what_comes_with_the_package_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = write_files(tmp_path / "packaged" / "demo", model_files())
    monkeypatch.setattr(hub, "PACKAGED_FOLDER", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # with something else
    assert hub.resolve("demo") == packaged
    write_files(tmp_path / "demo", model_files())
    assert hub.resolve("demo") == Path("demo")
