"""`hfpose plot`: the motions in a result file as curves over time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfpose.keypoints import KeypointSchema
    from hfpose.media.json_results import VideoFrame
    from hfpose.results import PoseOutput


_OF_A_PERSON = ("keypoints", "keypoint_scores", "track_id", "interpolated")


def plot(
    result: Annotated[Path, typer.Argument(help="NAME.json of a video, as `hfpose predict` writes it.")],
    output: Annotated[
        Path | None, typer.Option(help="The image (.png, .svg, .pdf). Default: NAME.png beside the result.")
    ] = None,
    people: Annotated[
        str | None, typer.Option(help="Identities with curves, with commas. Default: the three in most frames.")
    ] = None,
    keypoints: Annotated[
        str | None, typer.Option(help="Names of keypoints with curves, with commas. Default: wrists and ankles.")
    ] = None,
    schema: Annotated[str | None, typer.Option(help="Name of the keypoint schema. Default: that of the file.")] = None,
    kpt_thr: Annotated[float, typer.Option(help="Minimum score of a keypoint.")] = 0.3,
) -> None:
    """Draw who is there when, keypoints and their scores over time, and joint angles."""
    from hfpose.errors import InputError
    from hfpose.visualization.plots import plot_tracks

    try:
        chosen = None if people is None else [int(each) for each in people.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{people!r} are no identities.", param_hint="--people") from None
    output = output or result.with_suffix(".png")
    outputs = read_results(result, schema)
    try:
        figure = plot_tracks(
            outputs, people=chosen, keypoints=keypoints.split(",") if keypoints else None, keypoint_threshold=kpt_thr
        )
    except ImportError as error:
        raise InputError(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(output)
    except ValueError as error:
        raise InputError(f"Cannot write {str(output)!r}: {error}") from error
    print(f"Wrote {output}.")


def read_results(path: Path, schema: str | None = None) -> list[PoseOutput]:
    """The frames of a video from the file that `hfpose predict` wrote.

    Args:
        schema: name of the keypoint schema; None for what the file says, else what fits the number of keypoints.

    Raises:
        InputError: if it is no such file.
    """
    from hfpose.errors import InputError
    from hfpose.media.json_results import frames_of_video

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        frames = frames_of_video(content)
        names = content.get("keypoint_names") if isinstance(content, dict) else None
        meaning = _schema([one for frame in frames for one in frame.instances], schema, names)
        return [_output(frame, meaning) for frame in frames]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{str(path)!r} is no result of a video ({type(error).__name__}: {error}). Give NAME.json that `hfpose "
            "predict VIDEO --track --out-dir OUT` writes to OUT/predictions."
        ) from error


def _schema(people: list[Any], name: str | None, names: list[str] | None) -> KeypointSchema | None:
    """The schema of that name, else with these names of keypoints, else what fits their number."""
    from hfpose.keypoints import generic_schema, load_schema
    from hfpose.keypoints.library import schema_for_count, schema_for_names

    if name is None and names is not None:
        return schema_for_names(names) or generic_schema(names)
    if not people:
        return None
    points = people[0]["keypoints"]
    if name is None and (len(points), len(points[0])) == (17, 3):  # what lifters give
        name = "h36m"
    return schema_for_count(len(points)) if name is None else load_schema(name)


def _output(frame: VideoFrame, schema: KeypointSchema | None) -> PoseOutput:
    from hfpose.results import PoseOutput

    people = [{key: each[key] for key in _OF_A_PERSON if key in each} for each in frame.instances]
    names = {} if schema is None else {"schema": schema.name, "keypoint_names": schema.keypoint_names}
    times = {"frame_index": frame.frame_index, "timestamp": frame.timestamp}
    return PoseOutput.from_dict({"predictions": people, **names, **times})
