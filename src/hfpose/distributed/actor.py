"""Poses of the images in a column of a table, for data sets that are processed in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfpose.errors import ConfigError
from hfpose.results import PoseOutput

_ARRAYS = ("keypoints", "keypoint_scores", "boxes", "box_scores")


class PoseActor:
    """A callable class for `ray.data.Dataset.map_batches`, and a callable for `datasets.Dataset.map(batched=True)`.

        ray.data.read_parquet("images").map_batches(
            PoseActor, fn_constructor_kwargs={"model": "human"}, batch_size=32, concurrency=4, num_gpus=1
        )
        dataset.map(PoseActor("human"), batched=True, batch_size=32)

    The models are loaded at the first batch, so each worker has its own. `datasets` takes the types of columns from
    the first batch; where it may find no instance, give `map` the argument `features`, made of
    `PoseActor.arrow_schema()` by `datasets.Features.from_arrow_schema`.

    Args:
        model: see `hfpose.pipeline`.
        column: with the images: arrays (uint8 RGB, H x W x 3), encoded bytes, paths, PIL images, or dicts with `bytes`
            or `path`.
        task: see `hfpose.pipeline`.
        call: options of each call, such as `box_threshold`.
        prefix: of the names of the columns with results, where a table has columns of these names.
        options: of `hfpose.pipeline`, such as `device`, `dtype` and `detector`.
    """

    def __init__(
        self,
        model: Any = "human",
        *,
        column: str = "image",
        task: str = "pose-estimation",
        call: Mapping[str, Any] | None = None,
        prefix: str = "",
        **options: Any,
    ) -> None:
        self._make = {"task": task, "model": model, **options}
        self._prefix = prefix
        self._column = column
        self._call = dict(call or {})
        self._pipe: Any = None

    def __call__(self, batch: Any) -> Any:
        """The batch, columns of B rows, with the results of each image added.

        Args:
            batch: mapping of names to columns, `pandas.DataFrame` or `pyarrow.Table`.

        Returns:
            All columns, and those of `arrow_schema`: for Ray, which hands over a dict, as Arrow arrays, else as lists;
            for a table a table.

        Raises:
            ConfigError: if the batch has no column of images, or has columns of the names of the results.
        """
        if hasattr(batch, "column_names"):
            import pyarrow

            columns = dict(zip(batch.column_names, batch.columns, strict=True))
            plain = {name: column.to_pylist() if name == self._column else column for name, column in columns.items()}
            return pyarrow.table({**columns, **self._results(plain)})
        return {**batch, **self._results(batch)}

    def _results(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns with results, as Arrow arrays where the batch is a dict, else as lists."""
        self._check(list(batch))
        if self._pipe is None:
            from hfpose.pipelines import pipeline

            self._pipe = pipeline(**self._make)
        images = [_plain(value) for value in batch[self._column]]
        outputs = list(self._pipe(images, **{"batch_size": len(images), **self._call})) if images else []
        results = {name: [_rows(output, name) for output in outputs] for name in _ARRAYS}
        results["error"] = [output.error for output in outputs]
        if isinstance(batch, dict):
            import pyarrow

            results = {field.name: pyarrow.array(results[field.name], field.type) for field in self.arrow_schema()}
        return {self._prefix + name: column for name, column in results.items()}

    def _check(self, names: Sequence[str]) -> None:
        if self._column not in names:
            raise ConfigError(
                f"The batch has no column {self._column!r}; it has {', '.join(map(str, names))}. Say which one has "
                "the images: PoseActor(..., column=...)."
            )
        taken = [self._prefix + name for name in (*_ARRAYS, "error") if self._prefix + name in names]
        if taken:
            raise ConfigError(
                f"The batch has columns {', '.join(taken)}, which results would replace. Give results other names: "
                "PoseActor(..., prefix='pose_')."
            )

    @staticmethod
    def arrow_schema() -> Any:
        """`pyarrow.Schema` of the columns with results, of N instances with K keypoints in each row.

        `keypoints` (N x K x 2: x, y in pixels; in 3D N x K x 3 in meters) and `keypoint_scores` (N x K), `boxes` (N x
        4: x1, y1, x2, y2 in pixels), `box_scores` (N), all nested lists of float32, and `error`: why an image could
        not be read, else null.
        """
        import pyarrow

        numbers = pyarrow.float32()
        return pyarrow.schema(
            {
                "keypoints": pyarrow.list_(pyarrow.list_(pyarrow.list_(numbers))),
                "keypoint_scores": pyarrow.list_(pyarrow.list_(numbers)),
                "boxes": pyarrow.list_(pyarrow.list_(numbers)),
                "box_scores": pyarrow.list_(numbers),
                "error": pyarrow.string(),
            }
        )


def _plain(value: Any) -> Any:
    """An element of a column as one image for a pipeline: a dict is what `datasets` makes of an image that is not
    decoded, and a path by itself may be that of several frames."""
    return {"image": value} if isinstance(value, (Mapping, str, Path)) else value


def _rows(output: PoseOutput, name: str) -> list[Any]:
    array = getattr(output, name)
    return [] if output.error is not None or array is None else array.tolist()
