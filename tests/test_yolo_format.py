"""Data sets of YOLO-pose, written and read as real files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from coco_files import people_content, write_json
from command_line import run_command
from hfpose.annotations import annotated_schema, pose_instances, read_annotations, read_coco, write_coco, write_yolo
from hfpose.annotations.pre_labels import pre_labels
from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.media.images import save_image
from hfpose.results import PoseOutput

SCHEMA = load_schema("coco")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    return read_coco(write_json(folder / "people.json", people_content(folder, 2)))


@pytest.fixture
def data_set(coco, tmp_path):
    write_yolo(coco, SCHEMA, tmp_path, "train")
    write_yolo(coco, SCHEMA, tmp_path, "val")
    return tmp_path


def change(data_set, **settings):
    path = data_set / "data.yaml"
    values = yaml.safe_load(path.read_text()) | settings
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def test_what_is_written_is_read_again(coco, data_set):
    before, after = pose_instances(coco, SCHEMA), pose_instances(read_annotations(data_set, split="val"), SCHEMA)
    assert after.boxes == pytest.approx(before.boxes, abs=1e-3)
    assert (after.visibility == before.visibility).all() and (after.visibility == 1).any()
    labeled = before.visibility > 0
    assert after.keypoints[labeled] == pytest.approx(before.keypoints[labeled], abs=1e-3)
    assert annotated_schema(read_annotations(data_set)) == SCHEMA
    assert (data_set / "images/val/0.png").read_bytes() == coco.images[0].path.read_bytes()


def test_the_yaml_file_says_what_the_keypoints_are(data_set):
    path = change(data_set, kpt_names=None)
    assert annotated_schema(read_annotations(path)) == SCHEMA  # 17 that mirror as COCO's
    schema = annotated_schema(read_annotations(change(data_set, flip_idx=list(range(16, -1, -1)))))
    assert schema.keypoint_names[3] == "keypoint_3" and schema.flip_indices[0] == 16


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"train": "../images/train"}, "images/train"),
        ({"path": "elsewhere", "train": ["images/train", "images/val"]}, "images"),
        ({"train": "list.txt"}, "images/train"),
    ],
)
def test_images_are_found_where_the_file_says(data_set, settings, place):
    (data_set / "list.txt").write_text("./images/train/0.png\n\n./images/train/1.png\n")
    coco = read_annotations(change(data_set, **settings))
    assert {image.path.parent for image in coco.images} <= set((data_set / place).resolve().glob("**"))
    assert len(coco.annotations) == 2 * len(coco.images) and not coco.left_out.total


def test_keypoints_without_visibility_are_visible_unless_at_zero(tmp_path):
    save_image(tmp_path / "images/7.png", np.zeros((100, 200, 3), np.uint8))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/7.txt").write_text("0 0.5 0.5 0.5 0.5 0.25 0.5 0 0\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [box]\nkpt_shape: [2, 2]\n")
    coco = read_annotations(tmp_path)
    assert coco.images[0].id == 7 and coco.images[0].size == (200, 100)
    assert coco.annotations[0]["keypoints"] == [50, 50, 2, 0, 0, 0] and coco.annotations[0]["bbox"] == [
        50,
        25,
        100,
        50,
    ]


def test_images_turned_by_exif_are_as_large_as_they_are_shown(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images/a.jpg", exif=exif)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [box]\nkpt_shape: [2, 3]\n")
    assert read_annotations(tmp_path).images[0].size == (20, 40)


def test_lines_that_cannot_be_read_never_lose_the_others(data_set):
    path = data_set / "labels/train/0.txt"
    good = path.read_text().splitlines()[0]
    path.write_text(f"{good}\n0 0.5 0.5\nperson {good[2:]}\n9{good[1:]}\n")
    (data_set / "images/train/broken.jpg").write_bytes(b"no image")
    coco = read_annotations(data_set)
    assert len(coco.annotations) == 3
    told = "\n".join(coco.left_out.lines())
    assert "2 x label that is not 56 finite numbers" in told
    assert "1 x annotation of a category that the file does not list" in told
    assert "1 x image that cannot be read: broken.jpg" in told


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": None}, "no split 'train'; it names val"),
        ({"train": "nowhere"}, "names 'nowhere', which is not there"),
        ({"kpt_shape": [17, 4]}, r"expected \[keypoints, 2\]"),
        ({"names": None}, "describes no data set of YOLO"),
        ({"names": {"person": 0}}, "expected a list, or a number for each class"),
    ],
)
def test_a_yaml_file_that_cannot_be_used_says_why(data_set, settings, message):
    with pytest.raises(InputError, match=message):
        read_annotations(change(data_set, **settings))


def test_what_yolo_would_refuse_is_not_written(coco, tmp_path):
    content = {key: list(getattr(coco, key)) for key in ("annotations", "categories")}
    content["images"] = [{"id": 1, "file_name": "0.png", "width": 160, "height": 120}]
    first, second = (dict(entry) for entry in content["annotations"][:2])
    first["keypoints"] = [-5.0, 3.0, 2, *first["keypoints"][3:]]
    content["annotations"] = [first, second | {"iscrowd": 1}]
    small = read_coco(write_json(coco.path.parent / "small.json", content))
    assert write_yolo(small, SCHEMA, tmp_path).lines() == ["1 x crowd, not one instance: annotation 101 of image 1"]
    (line,) = (tmp_path / "labels/train/0.txt").read_text().splitlines()
    values = list(map(float, line.split()))
    assert values[5:8] == [0, 0, 0] and all(0 <= value <= 1 for value in (*values[1:5], *values[5::3], *values[6::3]))


def test_a_folder_of_other_keypoints_is_not_written_to(coco, data_set):
    with pytest.raises(InputError, match="other classes or keypoints"):
        write_yolo(coco, load_schema("ap10k"), data_set)


def test_the_command_converts_both_ways(coco, tmp_path):
    written = run_command("convert-annotations", coco.path, "--format", "yolo", "--output", tmp_path / "yolo")
    assert written.returncode == 0 and (tmp_path / "yolo/labels/train/1.txt").exists()
    back = tmp_path / "back.json"
    assert run_command("convert-annotations", tmp_path / "yolo", "--format", "coco", "--output", back).returncode == 0
    again = read_coco(back, tmp_path / "yolo/images/train")
    assert pose_instances(again, SCHEMA).boxes == pytest.approx(pose_instances(coco, SCHEMA).boxes, abs=1e-3)
    assert all(isinstance(entry["id"], int) for entry in json.loads(back.read_text())["images"])


def test_annotations_are_not_written_over_themselves(coco, data_set):
    before = coco.path.read_bytes()
    for source, form, output in ((coco.path, "coco", coco.path), (data_set / "data.yaml", "yolo", data_set)):
        run = run_command("convert-annotations", source, "--format", form, "--output", output)
        assert run.returncode == 2 and "over the annotations" in " ".join(run.stderr.replace("│", "").split())
    assert coco.path.read_bytes() == before


def test_written_annotations_have_areas(coco, data_set, tmp_path):
    write_coco(read_annotations(data_set, split="val"), tmp_path / "val.json")
    for annotation in json.loads((tmp_path / "val.json").read_text())["annotations"]:
        assert annotation["area"] == pytest.approx(0.53 * annotation["bbox"][2] * annotation["bbox"][3], abs=0.01)


def test_a_yolo_folder_is_measured_and_checked(data_set, tmp_path):
    coco = read_annotations(data_set, split="val")
    results = write_json(tmp_path / "results.json", [dict(a, score=1.0) for a in coco.annotations])
    measured = run_command("eval", "--data", data_set / "data.yaml", "--results", results)
    assert measured.returncode == 0 and "AP  1.0000" in measured.stdout
    checked = run_command("check-data", data_set, "--output", tmp_path / "samples.png")
    assert checked.returncode == 0 and "2 images, 4 annotations, 1 categories" in checked.stdout


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_pre_labels_leave_what_the_model_does_not_know_to_people(tmp_path, form):
    from hfpose.hub.resolve import PACKAGED_SCENES

    output, images = tmp_path / ("labels.json" if form == "coco" else "labels"), tmp_path / "images"
    images.mkdir()
    scene = Image.open(PACKAGED_SCENES / "300.jpg")  # the first frame of a file with several is what is annotated
    scene.save(images / "300.tif", save_all=True, append_images=[Image.new("RGB", scene.size)])
    run = run_command(
        "annotate", images, "--model", "demo", "--format", form, "--output", output,
        "--keypoint-threshold", "0.5", "--device", "cpu",
    )  # fmt: skip
    assert run.returncode == 0 and "left to a person" in run.stdout
    coco = read_coco(output, images) if form == "coco" else read_annotations(output)
    if form == "coco":  # as other programs read it
        loaded = pytest.importorskip("pycocotools.coco").COCO(str(output))
        assert len(loaded.loadAnns(loaded.getAnnIds(imgIds=1))) == len(coco.annotations)
    instances = pose_instances(coco, SCHEMA)
    assert len(instances) == 3 and set(np.unique(instances.visibility)) == {0, 2}  # no more than the scene has


def test_keypoints_outside_of_their_image_are_left_to_people(tmp_path):
    keypoints = np.full((1, 17, 2), 20.0)
    keypoints[0, :3] = [[-1, 20], [20, 31], [30, 20]]
    save_image(tmp_path / "a.png", np.zeros((30, 30, 3), np.uint8))
    found = PoseOutput(keypoints, np.ones((1, 17)), boxes=np.array([[0.0, 0, 30, 30]]), image_size=(30, 30))
    (annotation,) = pre_labels({tmp_path / "a.png": found}, SCHEMA, 0.5, tmp_path / "draft.json").annotations
    assert annotation["keypoints"][2:9:3] == [0, 0, 2] and annotation["num_keypoints"] == 15


def small_yolo(folder, stems, **settings):
    """A data set of images with one keypoint each, of these names."""
    for name in stems:
        save_image(folder / f"images/{name}.png", np.zeros((24, 32, 3), np.uint8))
        label = folder / f"labels/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 .5 .5 .5 .5 .5 .5 2\n", encoding="utf-8-sig")
    values = {"names": ["dog"], "kpt_shape": [1, 3], "train": "images"} | settings
    (folder / "data.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_an_image_that_is_named_twice_counts_once(tmp_path):
    coco = read_annotations(small_yolo(tmp_path, ("1", "sub/2"), train=["images", "images/sub"]))
    assert [image.id for image in coco.images] == [1, 2] and len(coco.annotations) == 2


def test_names_that_are_the_same_number_are_different_images(tmp_path):
    coco = read_annotations(small_yolo(tmp_path, ("007", "7", "8")))
    assert [image.id for image in coco.images] == ["007.png", "7.png", 8]
    assert len(coco.annotations) == 3 and not coco.left_out.total


def test_a_list_may_begin_with_a_mark_and_name_missing_images(tmp_path):
    (tmp_path / "list.txt").write_text("images/1.png\nimages/9.png\n", encoding="utf-8-sig")
    coco = read_annotations(small_yolo(tmp_path, ("1",), train="list.txt"))
    assert len(coco.images) == 1 and coco.left_out.lines() == ["1 x image that is missing: images/9.png"]


def test_a_list_without_images_is_told(tmp_path):
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(InputError, match="no image in its split 'train'"):
        read_annotations(small_yolo(tmp_path, ("1",), train="list.txt"))


def test_classes_with_keypoints_of_their_own_keep_them(tmp_path):
    coco = read_annotations(small_yolo(tmp_path, ("1",), names=["dog", "cat"], kpt_names={0: ["nose"], 1: ["tail"]}))
    assert [category["keypoints"] for category in coco.categories] == [["nose"], ["tail"]]


def test_images_of_the_same_name_are_all_written(tmp_path):
    names = ["a/train/x.png", "b/train/x.png", "b/train/x.jpg"]
    for value, name in enumerate(names):
        save_image(tmp_path / name, np.full((24, 32, 3), 80 * value, np.uint8))
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    # No category is listed, so that of the annotations counts, whatever its number is.
    annotations = [
        {"id": i, "image_id": i, "category_id": 3, "bbox": [1, 1, 10 + i, 9], "keypoints": [5, 5, 2]} for i in range(3)
    ]
    path = write_json(tmp_path / "coco.json", {"images": images, "annotations": annotations})
    left_out = write_yolo(read_coco(path), KeypointSchema("one", ("nose",)), tmp_path / "yolo")
    assert not left_out.total
    again = read_annotations(tmp_path / "yolo")
    assert len(again.images) == 3 and {round(a["bbox"][2]) for a in again.annotations} == {10, 11, 12}
