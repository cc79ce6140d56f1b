"""`hfpose predict`: pictures, folders, videos and webcams to JSON and drawn pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfpose.media.frames import Frame
    from hfpose.results import PoseOutput


def predict(
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders, videos, URLs, or webcam[:ID].")],
    pose2d: Annotated[
        str, typer.Option(help="Alias, zoo name, hub repository or folder of the pose model.")
    ] = "human",
    det_model: Annotated[
        str | None, typer.Option(help="The same for the detector, or whole_image. Default: goes with the pose model.")
    ] = None,
    det_cat_ids: Annotated[
        list[str] | None, typer.Option(help="Classes of the detector to keep, by id or name; may be repeated.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ... Default: the best there is.")] = None,
    bbox_thr: Annotated[float, typer.Option(help="Least score of a box.")] = 0.3,
    nms_thr: Annotated[float, typer.Option(help="Overlap above which the worse of two boxes goes.")] = 0.3,
    kpt_thr: Annotated[float, typer.Option(help="Least score of a keypoint that is drawn.")] = 0.3,
    flip_test: Annotated[bool, typer.Option(help="Average over mirrored crops, for twice the cost.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that go through the detector at once.")] = 1,
    pose_batch_size: Annotated[int, typer.Option(min=1, help="Crops that go through the pose model at once.")] = 32,
    out_dir: Annotated[
        Path | None, typer.Option(help="Folder for everything, in predictions/ and visualizations/.")
    ] = None,
    pred_out_dir: Annotated[Path | None, typer.Option(help="Folder for predictions.")] = None,
    vis_out_dir: Annotated[Path | None, typer.Option(help="Folder for drawn pictures and videos.")] = None,
    format: Annotated[
        list[str], typer.Option(help="Format of predictions: json, coco, openpose, csv; may be repeated.")
    ] = ["json"],  # noqa: B006 - typer reads the default, nothing changes it
    draw_bbox: Annotated[bool, typer.Option(help="Draw the boxes too.")] = False,
    radius: Annotated[
        int | None, typer.Option(help="Of keypoints, in pixels. Default: grows with the picture.")
    ] = None,
    thickness: Annotated[
        int | None, typer.Option(help="Of links, in pixels. Default: grows with the picture.")
    ] = None,
    skeleton_style: Annotated[str, typer.Option(help="mmpose or openpose.")] = "mmpose",
    black_background: Annotated[bool, typer.Option(help="Draw on black instead of the picture.")] = False,
    recursive: Annotated[bool, typer.Option(help="Look into subfolders of folders too.")] = False,
    resume: Annotated[bool, typer.Option(help="Skip inputs whose files an earlier run has written.")] = False,
) -> None:
    """Find people, hands, faces or animals and their keypoints."""
    from tqdm import tqdm

    from hfpose.media.sources import open_source
    from hfpose.media.writers import open_writers
    from hfpose.pipelines import pipeline
    from hfpose.visualization import draw_poses

    writers = open_writers(
        out_dir=out_dir, pred_out_dir=pred_out_dir, vis_out_dir=vis_out_dir, formats=format, resume=resume
    )
    labels = [int(label) if label.isdigit() else label for label in det_cat_ids] if det_cat_ids else None
    pipe = pipeline("pose-estimation", model=pose2d, detector=det_model, detector_labels=labels, device=device)
    source = open_source(
        inputs if len(inputs) > 1 else inputs[0], recursive=recursive, skip=writers.is_complete if resume else None
    )
    results = pipe.stream(
        source,
        flip_test=flip_test,
        box_threshold=bbox_thr,
        nms_threshold=nms_thr,
        batch_size=batch_size,
        pose_batch_size=pose_batch_size,
    )
    drawing: dict[str, Any] = {
        "keypoint_threshold": kpt_thr,
        "draw_boxes": draw_bbox,
        "radius": radius,
        "thickness": thickness,
        "skeleton_style": skeleton_style,
        "black_background": black_background,
    }
    failures = 0
    # `disable=None`: no bar where stderr is no terminal; `delay`: none for what is done in a second.
    with writers, tqdm(results, total=source.num_frames, unit="frame", disable=None, delay=1) as progress:
        for frame, output in progress:
            if output.error is not None:
                failures += 1
                progress.write(f"hfpose: {frame.source or frame.name}: {output.error}", file=sys.stderr)
            elif writers.wants_visualization and frame.image is not None:
                output.visualization = draw_poses(frame.image, output, **drawing)
            writers.write(frame, output)
            if not writers.writers and output.error is None:
                progress.write(_summary(frame, output), file=sys.stdout)
    if failures:
        raise typer.Exit(1)


def _summary(frame: Frame, output: PoseOutput) -> str:
    """What was found in a frame, for a run that writes no files."""
    where = frame.source or frame.name
    if output.frame_index is not None:
        where = f"{where} frame {output.frame_index}"
    scores = output.box_scores if output.box_scores is not None else ()
    return f"{where}: {output.num_instances} found" + "".join(f", {score:.2f}" for score in scores)
