"""`hfpose sigmas`: sigmas of keypoints of one's own, out of repeated annotations."""

from pathlib import Path
from typing import Annotated

import typer

from hfpose.cli.shared import data_schema


def sigmas(
    files: Annotated[list[Path], typer.Argument(help="Annotations of the same images by different people.")],
    output: Annotated[Path, typer.Option(help="JSON file for the sigmas, as --sigmas of eval and train takes it.")],
    schema: Annotated[
        str | None, typer.Option(help="Name or JSON file of the keypoint schema. Default: that of the first file.")
    ] = None,
) -> None:
    """Estimate how far annotators are apart at each keypoint: the sigmas that average precision needs.

    Each file, in COCO's format, has the same instances, annotated without looking at the others. Some 100 instances
    give a sigma to about 10 percent. A keypoint that is nowhere labeled twice gets the mean of the others.
    """
    import numpy as np

    from hfpose.annotations import read_coco
    from hfpose.evaluation.sigmas import estimate_sigmas
    from hfpose.media.files import write_json

    read = [read_coco(path, needs_images=False) for path in files]
    found = data_schema(read[0], schema)
    values, counts = estimate_sigmas(read, found)
    values = np.maximum(np.where(counts > 0, values, np.nanmean(values)), 1e-3).round(5)  # AP divides by them
    for name, value, count in zip(found.keypoint_names, values.tolist(), counts.tolist(), strict=True):
        print(f"{name:>20}  {value:.4f}  {count} instances")
    write_json(output, dict(zip(found.keypoint_names, values.tolist(), strict=True)))
