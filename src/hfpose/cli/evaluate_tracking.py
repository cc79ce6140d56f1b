"""`hfpose eval-tracking`: how well identities hold over the frames of videos."""

from pathlib import Path
from typing import Annotated

import typer

from hfpose.cli.shared import Sigmas, print_notes


def evaluate_tracking(
    data: Annotated[Path, typer.Option(help="Annotations: JSON of PoseTrack 2018 or 2021, or MOT's text (gt.txt).")],
    results: Annotated[
        Path,
        typer.Option(help="Results: the same formats, or NAME.json that `hfpose predict --track` writes of a video."),
    ],
    schema: Annotated[
        str | None, typer.Option(help="Name or JSON file of the keypoint schema. Default: the one that the data name.")
    ] = None,
    sigmas: Sigmas = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
) -> None:
    """Measure tracking: HOTA, DetA, AssA, IDF1, MOTA and identity switches, of boxes by IoU and of poses by OKS."""
    from hfpose.annotations import read_schema
    from hfpose.evaluation.coco import read_sigmas
    from hfpose.evaluation.tracking_files import evaluate_tracks, known_schema, read_tracks
    from hfpose.media.files import write_json

    annotated = read_tracks(data)
    tracked = read_tracks(results, annotated)
    chosen = known_schema(annotated) if schema is None else read_schema(schema)
    if sigmas is not None:
        if chosen is None:
            raise typer.BadParameter("the data name no known keypoints; say which they are with --schema.")
        chosen = read_sigmas(sigmas, chosen)
    measured = evaluate_tracks(annotated, tracked, chosen)
    for path, file in ((data, annotated), (results, tracked)):
        print_notes(*(f"left out of {path}: {line}" for line in file.left_out.lines()))
    print_notes(*sorted({line for metrics in measured.values() for line in metrics.lines()}))
    print(f"{'':>10}" + "".join(f"{by:>10}" for by in measured))
    for name in next(iter(measured.values())):
        values = (metrics[name] for metrics in measured.values())
        print(
            f"{name:>10}" + "".join(f"{value:>10}" if isinstance(value, int) else f"{value:10.4f}" for value in values)
        )
    if output is not None:
        write_json(output, measured)
    if not all(measured.values()):
        raise typer.Exit(1)
