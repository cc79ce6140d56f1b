"""Columns of images become columns of poses."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfpose
from hfpose.distributed import PoseActor
from hfpose.errors import ConfigError

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'hfpose[parquet]'")


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def expected(quick, arrays) -> list[hfpose.PoseOutput]:
    pipe = hfpose.pipeline("pose-estimation", model=quick, detector="whole_image", device="cpu")
    return pipe(arrays, batch_size=3)


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def actor(quick: Path) -> PoseActor:
    return PoseActor(quick, detector="whole_image", device="cpu", column="photo")


@pytest.mark.parametrize("kind", ["array", "bytes", "path", "dict"])
def test_images_of_any_kind(actor, arrays, expected, tmp_path, kind):
    values = []
    for number, array in enumerate(arrays):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(array))
        of_kind = {"array": array, "bytes": encoded(array), "path": str(path), "dict": {"bytes": encoded(array)}}
        values.append(of_kind[kind])
    result = actor({"photo": values, "id": [5, 6, 7]})
    assert result["id"] == [5, 6, 7]
    for row, output in enumerate(expected):
        np.testing.assert_array_equal(np.float32(result["keypoints"][row].as_py()), output.keypoints)
        np.testing.assert_array_equal(np.float32(result["boxes"][row].as_py()), output.boxes)


def test_columns_have_the_types_that_are_documented_whatever_was_found(actor, arrays):
    full, bad = actor({"photo": arrays}), actor({"photo": [b"no image"]})
    schema = PoseActor.arrow_schema()
    for result in (full, bad):
        assert {field.name: result[field.name].type for field in schema} == {
            field.name: field.type for field in schema
        }
    assert bad["keypoints"].to_pylist() == [[]]
    assert "no image" in bad["error"][0].as_py()


def test_tables_give_tables(actor, arrays, expected):
    table = pyarrow.table({"photo": [encoded(array) for array in arrays], "id": [5, 6, 7]})
    result = actor(table)
    assert result.column_names == ["photo", "id", *PoseActor.arrow_schema().names]
    np.testing.assert_array_equal(np.float32(result["keypoints"][1].as_py()), expected[1].keypoints)


def test_no_column_of_a_batch_is_replaced(quick, actor, arrays):
    batch = {"photo": arrays[:1], "boxes": [[1, 2, 3, 4]]}
    with pytest.raises(ConfigError, match=r"columns boxes, which results would replace.*prefix="):
        actor(batch)
    beside = PoseActor(quick, detector="whole_image", device="cpu", column="photo", prefix="pose_")(batch)
    assert beside["boxes"] == [[1, 2, 3, 4]] and len(beside["pose_boxes"]) == 1


def test_a_column_that_is_not_there_is_named(actor):
    with pytest.raises(ConfigError, match="no column 'photo'; it has image, id"):
        actor({"image": [1], "id": [2]})


def test_an_empty_batch(actor):
    assert len(actor({"photo": []})["keypoints"]) == 0


@pytest.mark.slow  # a cluster starts
@pytest.mark.xdist_group("ray")
def test_ray_data(actor, quick, arrays, expected):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'hfpose[ray]'")
    ray.init(address="local", num_cpus=1, log_to_driver=False, logging_level="error")
    table = ray.data.from_items([{"id": number, "photo": encoded(array)} for number, array in enumerate(arrays)])
    options = {"detector": "whole_image", "device": "cpu", "column": "photo"}
    rows = table.map_batches(
        PoseActor, fn_constructor_kwargs={"model": str(quick), **options}, batch_size=2, concurrency=1
    ).take_all()
    for row in rows:  # in the order in which they are done
        np.testing.assert_allclose(np.float32(row["keypoints"]), expected[row["id"]].keypoints, atol=1e-3)
    assert len(rows) == len(expected)
    ray.shutdown()


def test_a_data_set_of_images(quick, arrays, expected):
    datasets = pytest.importorskip("datasets", reason="needs datasets: pip install datasets")
    table = datasets.Dataset.from_dict({"photo": [encoded(array) for array in arrays]})
    found = table.map(PoseActor(quick, detector="whole_image", device="cpu", column="photo"), batched=True)
    np.testing.assert_allclose(np.float32(found[1]["keypoints"]), expected[1].keypoints, atol=1e-4)


def test_a_file_with_several_frames_is_one_image(actor, arrays, expected, tmp_path):
    frames = [Image.fromarray(array) for array in arrays]
    frames[0].save(tmp_path / "frames.tif", save_all=True, append_images=frames[1:])
    result = actor({"photo": [str(tmp_path / "frames.tif")]})
    np.testing.assert_array_equal(np.float32(result["keypoints"][0].as_py()), expected[0].keypoints)
