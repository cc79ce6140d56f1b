"""The zoo: its names, and what each entry says."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError, HFPoseError, UnknownModelError
from hfpose.hub import zoo
from hfpose.hub.zoo import WHOLE_IMAGE, ModelEntry, find_entry, get_entry, get_family, list_aliases, list_entries
from hfpose.keypoints import load_schema

# Aliases of MMPose's inference guide: alias -> 2D model, its detector.
GUIDE = {
    "animal": ("rtmpose-m_8xb64-210e_ap10k-256x256", "rtmdet_m_8xb32-300e_coco"),
    "human": ("rtmpose-m_8xb256-420e_body8-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "body26": ("rtmpose-m_8xb512-700e_body8-halpe26-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "face": ("rtmpose-m_8xb256-120e_face6-256x256", "yolox-s_8xb8-300e_coco-face"),
    "hand": ("rtmpose-m_8xb256-210e_hand5-256x256", "rtmdet_nano_320-8xb32_hand"),
    "wholebody": ("rtmpose-m_8xb64-270e_coco-wholebody-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "vitpose": ("td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "vitpose-s": ("td-hm_ViTPose-small-simple_8xb64-210e_coco-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "vitpose-b": ("td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "vitpose-l": ("td-hm_ViTPose-large-simple_8xb64-210e_coco-256x192", "rtmdet_m_640-8xb32_coco-person"),
    "vitpose-h": ("td-hm_ViTPose-huge-simple_8xb64-210e_coco-256x192", "rtmdet_m_640-8xb32_coco-person"),
}


@pytest.mark.parametrize("alias", GUIDE)
def test_aliases_of_the_guide(alias: str) -> None:
    entry = get_entry(alias, "pose")
    assert (entry.name, entry.default_detector) == GUIDE[alias]


@pytest.mark.parametrize("alias", ["body", "body17"])
def test_other_names_of_human(alias: str) -> None:
    assert get_entry(alias, "pose") is get_entry("human", "pose")


def test_animals_keep_the_ten_animal_categories_of_coco() -> None:
    entry = get_entry("animal", "pose")
    detector = get_entry(str(entry.default_detector), "detector")
    kept = [detector.labels[i] for i in entry.detector_labels or ()]
    assert kept == ["cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"]


def test_three_dimensional_aliases() -> None:
    lifter, hand = get_entry("human3d"), get_entry("hand3d")
    assert (lifter.task, lifter.family) == ("lifter", "motionbert")
    assert lifter.default_pose == get_entry("human", "pose").name
    assert lifter.input_size is None
    assert (hand.task, hand.family, hand.default_detector) == ("pose", "internet", WHOLE_IMAGE)


def test_detector_selectable_for_hands() -> None:
    assert get_entry("ssdlite_mobilenetv2", "detector").labels == ("hand",)


@pytest.mark.parametrize(
    "name",
    [
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192",
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192.py",
        "configs/body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py",
        r"C:\mmpose\configs\TD-HM_HRNet-w32_8xb64-210e_coco-256x192.PY",
        " TD-HM_HRNET-W32_8XB64-210E_COCO-256X192 ",
    ],
)
def test_names_as_users_write_them(name: str) -> None:
    assert get_entry(name).name == "td-hm_hrnet-w32_8xb64-210e_coco-256x192"


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("yolox_l_8x8_300e_coco", "yolox_l_8xb8-300e_coco"),
        ("rtmdet-m", "rtmdet_m_8xb32-300e_coco"),
        ("ssdlite_mobilenetv2_scratch_600e_coco", "ssdlite_mobilenetv2-scratch_8xb24-600e_coco"),
        ("vid_pl_motionbert_8xb32-120e_h36m", "motionbert_dstformer-ft-243frm_8xb32-120e_h36m"),
    ],
)
def test_old_names(old: str, name: str) -> None:
    assert get_entry(old).name == name


def test_folder_in_a_name_counts_only_for_config_files() -> None:
    assert find_entry("someone/rtmpose-m_8xb256-420e_body8-256x192") is None


def test_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownModelError, match=r"no model called 'humna'. Did you mean 'human' or .*hfpose models"):
        get_entry("humna")


def test_suggestions_are_for_the_task_and_written_as_they_are() -> None:
    with pytest.raises(UnknownModelError) as raised:
        get_entry("td-hm_ViTPose-base_8xb64-210e_coco-256x19", "pose")
    assert "'td-hm_ViTPose-base_8xb64-210e_coco-256x192'" in str(raised.value)
    with pytest.raises(UnknownModelError) as raised:
        get_entry("rtmdet_x", "detector")
    assert "rtmpose" not in str(raised.value)


def test_nothing_near_means_no_suggestion() -> None:
    with pytest.raises(UnknownModelError, match=r"called 'qqqq'\. `hfpose models`"):
        get_entry("qqqq")


def test_name_of_two_tasks_needs_the_task() -> None:
    with pytest.raises(
        UnknownModelError, match=r"names 2 models .*task='pose' for rtmpose-m.*task='detector' for rtmdet_m"
    ):
        get_entry("human")
    assert get_entry("human", "pose").task == "pose"
    assert get_entry("human", "detector").task == "detector"


def test_name_of_another_task_is_named_as_such() -> None:
    with pytest.raises(UnknownModelError, match=r"'rtmdet-m' is a detector model .* and a pose model was asked for"):
        get_entry("rtmdet-m", "pose")


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task is 'tracking'; expected one of 'pose', 'detector', 'lifter'"):
        get_entry("human", "tracking")  # type: ignore[arg-type]


def test_families_that_are_not_supported_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo._zoo().families, "rtmo", replace(get_family("rtmo"), supported=False))
    entry = get_entry("rtmo")
    assert not entry.supported
    with pytest.raises(ConfigError, match=r"RTMO is not supported yet. Supported families: RTMPose, HRNet"):
        entry.require_supported()


def test_supported_models() -> None:
    entry = get_entry("human3d")
    entry.require_supported()
    assert all(e.supported for e in list_entries("detector"))


def test_names_are_unique_within_a_task() -> None:
    for task in ("pose", "detector", "lifter"):
        names = [name.casefold() for entry in list_entries(task) for name in (entry.name, *entry.aliases)]
        assert len(names) == len(set(names))


def test_full_names_are_unique_over_all_tasks() -> None:
    names = [entry.name for entry in list_entries()]
    assert len(names) == len(set(names))
    assert all(get_entry(name).name == name for name in names)
    assert not set(names) & {alias for alias, _ in list_aliases()}


def test_names_are_safe_as_folders() -> None:
    assert all(re.fullmatch(r"\w[\w.-]*", entry.name) for entry in list_entries())


def test_entries_are_complete() -> None:
    for entry in list_entries():
        check_entry(entry)


def check_entry(entry: ModelEntry) -> None:
    if entry.checkpoint_url is None:
        assert entry.name in ("yolox_nano_8xb8-300e_coco", "yolox_m_8xb8-300e_coco")
    else:
        assert re.match(r"https://(download\.openmmlab\.com|github\.com/orange0-jp)/", entry.checkpoint_url)
    if entry.sha256_prefix is not None:
        assert re.fullmatch(r"[0-9a-f]{7,8}", entry.sha256_prefix)
        assert entry.sha256_prefix in entry.checkpoint_url
    assert (entry.repository is None) == (entry.revision is None)
    assert entry.revision is None or re.fullmatch("[0-9a-f]{40}", entry.revision)  # a commit; a branch could change
    assert entry.training_data
    assert get_family(entry.family).paper.url.startswith(("https://arxiv.org/abs/", "https://openaccess.thecvf.com/"))
    if entry.task == "detector":
        assert entry.labels
        assert entry.schema is None
    else:
        assert load_schema(entry.schema).num_keypoints > 0
    if entry.default_detector not in (None, WHOLE_IMAGE):
        detector = get_entry(entry.default_detector, "detector")
        assert all(0 <= i < len(detector.labels) for i in entry.detector_labels)
    if entry.default_pose is not None:
        get_entry(entry.default_pose, "pose").require_supported()


def test_metrics_are_the_published_ones() -> None:
    assert get_entry("td-hm_hrnet-w32_8xb64-210e_coco-256x192").metrics["COCO"]["AP"] == 0.746
    assert get_entry("rtmdet-m").metrics == {"COCO": {"box AP": 49.1}}


def test_configurations_of_entries() -> None:
    for entry in list_entries():
        source = ModelSource.from_entry(entry)
        config = source.conversion.config_from_reference(source.reference, source.schema)
        source.conversion.image_processor_from_reference(source.reference)
        names = source.schema.keypoint_names if source.schema else entry.labels
        assert list(config.id2label.values()) == list(names), entry.name


def test_every_name_and_alias_is_found() -> None:
    for entry in list_entries():
        assert all(find_entry(name, entry.task) == entry for name in (entry.name, *entry.aliases)), entry.name


def test_reference_is_a_fresh_copy() -> None:
    entry = get_entry("human", "pose")
    entry.reference["backbone"]["type"] = "changed"
    assert entry.reference["backbone"]["type"] == "CSPNeXt"


def test_reference_of_a_detector_names_its_classes() -> None:
    reference = get_entry("rtmdet_nano_320-8xb32_hand").reference
    assert reference["classes"] == ["hand"]
    assert reference["input_size_wh"] == [320, 320]


def test_every_model_of_the_reference_zoo_is_there(shared: Path) -> None:
    facts = json.loads((shared / "facts/pose_zoo.json").read_text())
    detectors = json.loads((shared / "facts/detector_models.json").read_text())["detectors"]
    keys = ("backbone", "neck", "head", "bbox_head", "test_cfg", "data_preprocessor", "test_pipeline", "input_size_wh")
    for fact in facts + detectors:
        entry = get_entry(fact["name"])
        assert entry.sha256_prefix == fact["sha256_prefix"]
        assert entry.checkpoint_url == ((fact["checkpoint_url"] or "").lstrip("(") or None)  # one was published so
        if (fact.get("head") or {}).get("out_channels") == 19 and fact.get("schema") == "coco":
            assert entry.schema == "coco_aic"
        else:
            assert entry.schema == fact.get("schema")
        if entry.supported:
            reference = entry.reference
            for key in keys:
                # How images are cropped is stated where it is not in the usual way.
                if key in fact and not (key == "test_pipeline" and entry.task == "pose" and key not in reference):
                    assert (reference.get(key) or None) == (fact[key] or None), (entry.name, key)


def test_errors_are_hfpose_errors() -> None:
    assert issubclass(UnknownModelError, HFPoseError)


def test_the_zoo_is_read_in_no_time() -> None:
    def seconds_to_read() -> float:
        zoo._zoo.cache_clear()
        start = time.process_time()
        get_entry("human", "pose")
        return time.process_time() - start

    # The shortest: a collection of the garbage of other tests may fall into one.
    assert min(seconds_to_read() for _ in range(5)) < 0.05


@pytest.mark.parametrize("name", ["rtmpose-t", "rtmpose-s", "rtmpose-m", "rtmpose-l", "rtmpose-x"])
def test_sizes_of_rtmpose_are_names(name: str) -> None:
    assert get_entry(name).name.startswith(f"{name}_")


@pytest.mark.parametrize("size", ["nano", "tiny", "s", "m", "l", "x"])
def test_sizes_of_rtmdet_are_names(size: str) -> None:
    assert get_entry(f"rtmdet-{size}").name.startswith(f"rtmdet_{size}_")


@pytest.mark.parametrize(("name", "near"), [("dem", "demo"), ("demo-3d", "demo3d"), ("Demo2", "demo")])
def test_packaged_models_are_suggested(name: str, near: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean '{near}'"):
        get_entry(name)


@pytest.mark.parametrize(
    "name", ["openpose", "yolov8n-pose", "td-hm_uniformer-b-8xb32-210e_coco-256x192", "Media Pipe"]
)
def test_family_that_is_not_supported_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"are not supported\. Supported families: RTMPose"):
        get_entry(name)


@pytest.mark.parametrize("name", ["", "\n", "human\n\nx", "x" * 10_000])
def test_strange_names_give_one_short_line(name: str) -> None:
    with pytest.raises(UnknownModelError) as error:
        get_entry(name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_the_whole_image_is_suggested_in_place_of_a_detector() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'whole_image'"):
        get_entry("whole-image", "detector")
