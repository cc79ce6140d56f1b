"""`hfpose sigmas`: sigmas of keypoints of one's own, out of repeated annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def sigmas(
    files: Annotated[list[Path], typer.Argument(help="Annotations of the same images by different people.")],
    output: Annotated[Path, typer.Option(help="JSON file for the sigmas, as --sigmas of eval and train takes it.")],
    schema: Annotated[
        str | None, typer.Option(help="Name or JSON file of the keypoint schema. Default: that of the first file.")
    ] = None,
) -> None:
    """Estimate how far annotators are apart at each keypoint: the sigmas that average precision needs.

    Each file, in COCO's format, has the same instances, annotated without looking at the others. Some 100 instances give a sigma
    to about 10 percent. A keypoint that is nowhere labeled twice gets the mean of the others.
    """
    from hfpose.annotations import annotated_schema, read_coco, read_schema
    from hfpose.evaluation.sigmas import estimate_sigmas
    from hfpose.media.files import atomic_path

    read = [read_coco(path, needs_images=False) for path in files]
    found = read_schema(schema) if schema is not None else annotated_schema(read[0])
    if found is None:
        raise typer.BadParameter(f"{files[0]} does not name its keypoints; say which they are with --schema.")
    import numpy as np

    values, counts = estimate_sigmas(read, found)
    values = np.maximum(np.where(counts > 0, values, np.nanmean(values)), 1e-3).round(5)  # AP divides by them
    for name, value, count in zip(found.keypoint_names, values.tolist(), counts.tolist(), strict=True):
        print(f"{name:>20}  {value:.4f}  {count} instances")
    with atomic_path(output) as partial:
        partial.write_text(json.dumps(dict(zip(found.keypoint_names, values.tolist(), strict=True)), indent=2) + "\n")
