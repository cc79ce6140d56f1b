"""`hfpose predict`: images, folders, videos, webcams and streams to JSON and drawn images.

Its options have the names of MMPose's `demo/inferencer_demo.py`, and more.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfpose.cli.predict_command import check_effects, read_boolean, read_filters, read_people
from hfpose.cli.predict_runs import predict_here, predict_on_cluster
from hfpose.cli.run_report import RunReport, naming_resume
from hfpose.cli.shared import BACKEND_HELP, DEVICE_HELP, complete_model
from hfpose.errors import InputError

if TYPE_CHECKING:
    from hfpose.media.frames import MediaItem
    from hfpose.media.sources import Source


def _panel(title: str) -> Callable[..., Any]:
    """What makes the options below a title of the help, from their help and other settings of `typer.Option`."""

    def option(help: str, *names: str, **settings: Any) -> Any:
        return typer.Option(*names, help=help, rich_help_panel=title, **settings)

    return option


_input, _models, _finding, _time = map(_panel, ("Input", "Models", "Finding people", "People over time"))
_3d, _output, _drawing, _ray = map(_panel, ("3D", "Output", "Drawing", "Many machines"))


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders, videos, URLs, webcam[:ID], streams, FILE.txt of these.", show_default=False
        ),
    ] = None,
    recursive: Annotated[bool, _input("Look into subfolders of folders too.")] = False,
    resume: Annotated[bool, _input("Skip inputs whose files an earlier run has written.")] = False,
    live: Annotated[
        str, _input("Of webcams and streams take the latest frame and drop what came before it, or all frames.")
    ] = "latest",
    reconnect: Annotated[
        float, _input("Seconds for which a lost webcam or stream is tried to be opened again.", min=0)
    ] = 30.0,
    batch_size: Annotated[int, _input("Images that go through the detector at once.", min=1)] = 1,
    detect_every: Annotated[
        int, _time("The detector looks at every Nth frame of a video; between, boxes follow people.", min=1)
    ] = 1,
    pose_batch_size: Annotated[
        int | None,
        _input("Crops that go through the pose model at once. Default: 8 on a CPU, 64 on an accelerator.", min=1),
    ] = None,
    segment_frames: Annotated[
        int,
        _ray(
            "With --ray: frames of a long video that a worker does at a time. Videos of hands, videos with "
            "--draw-heatmap and URLs are not divided.",
            min=1,
        ),
    ] = 600,
    ray: Annotated[
        str | None,
        _ray(
            "Share the inputs among the workers of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; without an "
            "address one is started on this machine. Needs the extra ray. --out-dir may be a URL, such as "
            "s3://bucket/out.",
            metavar="[ADDRESS]",
        ),
    ] = None,
    workers: Annotated[
        int | None, _ray("With --ray: how many. Default: one for each GPU, or each CPU.", min=1)
    ] = None,
    cpus_per_worker: Annotated[int, _ray("With --ray: CPUs, and threads, of each worker.", min=1)] = 1,
    gpus_per_worker: Annotated[
        float | None, _ray("With --ray: GPUs of each worker, 0.5 for a half. Default: 1 if any.", min=0)
    ] = None,
    pose2d: Annotated[
        str | None,
        _models(
            "Alias, zoo name, config file, hub repository or folder of the 2D model. Default: human, or in 3D what "
            "goes with the lifter.",
            autocompletion=complete_model,
        ),
    ] = None,
    pose2d_weights: Annotated[str | None, _models("Checkpoint (path or URL) to use with --pose2d.")] = None,
    pose3d: Annotated[
        str | None,
        _models("The same for 3D: human3d, hand3d, ... Default: 2D.", autocompletion=complete_model),
    ] = None,
    pose3d_weights: Annotated[str | None, _models("Checkpoint to use with --pose3d.")] = None,
    det_model: Annotated[
        str | None,
        _models("The detector, or whole_image. Default: the model's own.", autocompletion=complete_model),
    ] = None,
    det_weights: Annotated[str | None, _models("Checkpoint to use with --det-model.")] = None,
    det_cat_ids: Annotated[
        list[str] | None,
        _models(
            "Classes of the detector to keep, by id or name; several ids, or repeated. Default: those that the pose "
            "model is made for."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        _models(
            "lightweight, balanced or performance: pose model and detector of human, body26, wholebody, hand, animal "
            "or rtmo together, as rtmlib pairs them."
        ),
    ] = None,
    scope: Annotated[str, _models("mmpose; with --show-alias also mmdet, for detectors.")] = "mmpose",
    device: Annotated[str | None, _models(DEVICE_HELP)] = None,
    backend: Annotated[str, _models(BACKEND_HELP)] = "auto",
    show_alias: Annotated[bool, _models("List the aliases of models and stop.", "--show-alias")] = False,
    bbox_thr: Annotated[float, _finding("Minimum score of a box.")] = 0.3,
    nms_thr: Annotated[
        float | None,
        _finding("IoU above which the worse of two boxes goes. Default: 0.3; RTMO and its like have their own."),
    ] = None,
    pose_based_nms: Annotated[
        str,
        _finding(
            "2D: true leaves out people whose keypoints lie on those of a person with a higher score.", metavar="BOOL"
        ),
    ] = "false",
    flip_test: Annotated[
        bool,
        _finding(
            "Average over flipped crops, for twice the cost. (The reference's demo does so where the model's config "
            "says it.)"
        ),
    ] = False,
    track: Annotated[
        str | None,
        _time(
            "2D: give people identities over the frames of a video; several images count as one. (3D does so always.) "
            "By iou (the default) or oks, or by bytetrack, ocsort or botsort of the package trackers.",
            metavar="[NAME]",
        ),
    ] = None,
    track_gap: Annotated[
        float | None, _time("Seconds for which people who are not seen are remembered. Default: 6.", min=0)
    ] = None,
    track_high_score: Annotated[
        float | None,
        _time(
            "Score from which on people are followed first, before those of a lower one. Default: 0.5.", min=0, max=1
        ),
    ] = None,
    track_confirm_frames: Annotated[
        int | None, _time("Frames in which a new instance has to be seen for an identity. Default: 3.", min=1, max=6)
    ] = None,
    track_appearance: Annotated[
        float | None,
        _time("How much it counts that people look alike to the pose network: 0 not at all, 1 normally.", min=0),
    ] = None,
    camera_motion: Annotated[
        bool | None, _time("Take the motion of the camera off the motion of people. Default: yes.")
    ] = None,
    track_relink: Annotated[
        bool | None, _time("Give people who were taken for each other their identities back. Default: yes.")
    ] = None,
    link_tracks: Annotated[
        bool | None,
        _time(
            "Look at the identities of a video file again from its end; results wait for it. Default: yes, but not "
            "with --show or --draw-heatmap."
        ),
    ] = None,
    tracking_thr: Annotated[float, _time("IoU (or OKS) above which people of two frames are the same.")] = 0.3,
    use_oks_tracking: Annotated[bool, _time("Judge that by keypoints, not by boxes.")] = False,
    smooth: Annotated[
        str | None,
        _time(
            "Smooth keypoints over time; in 2D with --track. Filters, with commas: butterworth, gaussian, median, "
            "hampel (single errors), which have no lag, or one-euro. Default: butterworth for video files, else "
            "one-euro.",
            metavar="[FILTERS]",
        ),
    ] = None,
    smooth_cutoff: Annotated[float, _time("Cutoff in Hz of butterworth and gaussian.", min=0.01)] = 6.0,
    smooth_window: Annotated[float, _time("Window in seconds of median and hampel.", min=0.001)] = 0.2,
    outlier_threshold: Annotated[float, _time("Standard deviations that hampel takes for an error.", min=0.1)] = 3.0,
    smooth_min_cutoff: Annotated[float, _time("Cutoff in Hz of one-euro for still keypoints.", min=0.01)] = 1.0,
    smooth_beta: Annotated[
        float, _time("Of one-euro: what the cutoff gains for each length of the body per second.", min=0)
    ] = 20.0,
    fill_gaps: Annotated[float, _time("Interpolate people who are not seen for up to so many seconds.", min=0)] = 0.0,
    people: Annotated[
        str | None,
        _time(
            "Keep these only: largest, center, longest (in most frames), how many of the largest, or identities (0,2 "
            "or 3,)."
        ),
    ] = None,
    online: Annotated[
        bool | None, _time("3D: lift frames as they come, in constant memory. Default: for webcams only.")
    ] = None,
    lookahead: Annotated[int, _time("The same: frames that a result comes late.", min=0)] = 0,
    stride: Annotated[
        int | None, _time("The same: frames that are lifted at a time, up to the lookahead and one.", min=1)
    ] = None,
    lifter_window: Annotated[int | None, _time("3D: most frames that the lifter sees at once.", min=1)] = None,
    disable_norm_pose_2d: Annotated[
        bool, _3d("Do not scale and place poses as in the lifter's training data.", "--disable-norm-pose-2d")
    ] = False,
    disable_rebase_keypoint: Annotated[
        bool, _3d("Do not move poses so that their lowest keypoint has height 0.", "--disable-rebase-keypoint")
    ] = False,
    ground: Annotated[
        str, _3d("What has height 0: clip (the ground over a video) or frame (each pose's lowest keypoint).")
    ] = "clip",
    root: Annotated[
        str, _3d("Where people are in videos: none (over the origin), planar (where they go) or camera.")
    ] = "none",
    height: Annotated[float | None, _3d("Of the people in meters, for --root.")] = None,
    field_of_view: Annotated[
        float | None, _3d("Degrees that the image's width spans, for --root. Default: 55.")
    ] = None,
    constant_bones: Annotated[bool, _3d("Bones of a video have one length, left as right.")] = False,
    num_instances: Annotated[int, _3d("How many people are drawn in 3D; -1 for all.")] = -1,
    out_dir: Annotated[str | None, _output("Folder for everything, in predictions/ and visualizations/.")] = None,
    pred_out_dir: Annotated[Path | None, _output("Folder for predictions.")] = None,
    vis_out_dir: Annotated[Path | None, _output("Folder for drawn images and videos.")] = None,
    format: Annotated[
        list[str] | None,
        _output(
            "Format of predictions: json (the default), mmpose (JSON as MMPose nests it), coco, openpose, csv, "
            "parquet; for people also angles, in 3D trc, c3d, mot, bvh and glb. Several with commas between them."
        ),
    ] = None,
    joint_names: Annotated[
        str, _output("Of bvh and glb: humanik (Hips, LeftUpLeg, ...), mixamo or h36m.")
    ] = "humanik",
    length_unit: Annotated[str, _output("Of bvh: meters or centimeters.")] = "meters",
    people_together: Annotated[
        bool, _output("Write all people of a video into one bvh or glb file, not one for each.")
    ] = False,
    show: Annotated[bool, _output("Show the results in a window. Esc or q ends the run.")] = False,
    wait_time: Annotated[
        float, _output("Seconds that an image is shown; 0 waits for a key. Videos do not wait.", min=0)
    ] = 0.0,
    show_progress: Annotated[
        bool, _output("Show a progress bar even where stderr is no terminal.", "--show-progress")
    ] = False,
    kpt_thr: Annotated[float, _drawing("Minimum score of a keypoint that is drawn.")] = 0.3,
    draw_bbox: Annotated[bool, _drawing("Draw the boxes too.")] = False,
    draw_heatmap: Annotated[bool, _drawing("2D: draw the heatmaps below the poses.")] = False,
    radius: Annotated[
        int | None, _drawing("Of keypoints, in pixels. Default: grows with the image (3 in the reference's demo).")
    ] = None,
    thickness: Annotated[
        int | None, _drawing("Of links, in pixels. Default: grows with the image (1 in the reference's demo).")
    ] = None,
    color_by: Annotated[
        str | None,
        _drawing(
            "side, instance or track: what colors tell apart. Default: side, and instance where an image shows more "
            "than 8."
        ),
    ] = None,
    skeleton_style: Annotated[str, _drawing("mmpose or openpose.")] = "mmpose",
    black_background: Annotated[
        bool,
        _drawing(
            "Draw on black instead of the image; with --skeleton-style openpose as pose ControlNets are given it."
        ),
    ] = False,
    canvas_size: Annotated[
        tuple[int, int] | None,
        _drawing("Width and height of that image, and of --format openpose. Default: those of the input."),
    ] = None,
) -> None:
    """Find people, hands, faces or animals and their keypoints.

    With --out-dir, OUT_DIR/manifest.jsonl says of each input how it went. With --ray many workers share the inputs.
    """
    from hfpose.compat.mmpose.aliases import check_scope

    if show_alias:
        _print_aliases(scope)
        return
    if not inputs:
        raise typer.BadParameter("give an image, a folder, a video, webcam or stream.", param_hint="INPUTS")
    check_scope(scope)
    formats = [name.strip().lower() for value in format or ["json"] for name in value.split(",")]
    if format and not (out_dir or pred_out_dir):
        raise typer.BadParameter("there is no folder to write to; give --out-dir too.", param_hint="--format")
    draws_controlnet = skeleton_style == "openpose" and black_background
    has_skeletons = not {"bvh", "glb"}.isdisjoint(formats)
    is_of_openpose = draws_controlnet or "openpose" in formats
    check_effects(
        ("--workers", workers is not None, ray is not None, "without --ray"),
        ("--gpus-per-worker", gpus_per_worker is not None, ray is not None, "without --ray"),
        ("--draw-heatmap", draw_heatmap, pose3d is None, "with --pose3d"),
        ("--joint-names", joint_names != "humanik", has_skeletons, "without --format bvh or glb"),
        ("--people-together", people_together, has_skeletons, "without --format bvh or glb"),
        ("--length-unit", length_unit != "meters", "bvh" in formats, "without --format bvh"),
        (
            "--canvas-size",
            canvas_size is not None,
            is_of_openpose,
            "without --format openpose, or --skeleton-style openpose and --black-background",
        ),
    )
    suppresses = read_boolean(pose_based_nms)
    if (num_processes := int(os.environ.get("WORLD_SIZE") or 1)) > 1:
        raise InputError(
            f"This is one of {num_processes} processes, which would all do the same. For many workers start one "
            "process with --ray --workers N; they share the inputs, on this machine or on many."
        )
    models: dict[str, Any] = {"task": "pose-estimation", "model": pose2d, "weights": pose2d_weights}
    if pose3d is not None:
        models = {"task": "pose-estimation-3d", "model": pose3d, "weights": pose3d_weights}
        models |= {"pose": pose2d, "pose_weights": pose2d_weights}
    if use_oks_tracking and track not in (None, "iou", "oks"):
        raise typer.BadParameter(f"it has no effect with --track {track}.", param_hint="--use-oks-tracking")
    if use_oks_tracking and track is None and pose3d is None:
        raise typer.BadParameter("in 2D it needs --track.", param_hint="--use-oks-tracking")
    settings = {
        "max_gap": track_gap,
        "high_score": track_high_score,
        "confirm_frames": track_confirm_frames,
        "camera_motion": camera_motion,
        "appearance": track_appearance,
        "relink": track_relink,
    }
    over_time = {
        "track": "oks" if use_oks_tracking else track,  # None tracks videos in 3D, and takes no images for one
        "tracking": {name: value for name, value in settings.items() if value is not None} or None,
        "tracking_threshold": tracking_thr,
        "link_tracks": link_tracks,
        "smooth": read_filters(smooth),
        "smooth_cutoff": smooth_cutoff,
        "smooth_window": smooth_window,
        "outlier_threshold": outlier_threshold,
        "fill_gaps": fill_gaps,
        "people": read_people(people),
        "smooth_min_cutoff": smooth_min_cutoff,
        "smooth_beta": smooth_beta,
    }

    from hfpose.distributed.job import PredictJob

    job = PredictJob(
        models={
            **models,
            "mode": mode,
            "detector": det_model,
            "detector_weights": det_weights,
            "detector_labels": [int(label) if label.isdecimal() else label for label in det_cat_ids or ()] or None,
            "device": device,
            "backend": backend,
        },
        finding={
            "flip_test": flip_test,
            "box_threshold": bbox_thr,
            "nms_threshold": nms_thr,
            "batch_size": batch_size,
            "pose_batch_size": pose_batch_size,
            "detect_every": detect_every,
            "live": live,
            "reconnect": reconnect,
        },
        tracking=over_time,
        lifting={
            **over_time,
            "do_normalize_boxes": False if disable_norm_pose_2d else None,
            "online": online,
            "lookahead": lookahead,
            "stride": stride,
            "window": lifter_window,
            "root": root,
            "constant_bones": constant_bones,
            "height": height,
            "field_of_view": field_of_view,
            "ground": None if disable_rebase_keypoint else ground,
        },
        drawing={
            "keypoint_threshold": kpt_thr,
            "draw_boxes": draw_bbox,
            "radius": radius,
            "thickness": thickness,
            "color_by": color_by,
            "skeleton_style": skeleton_style,
            "black_background": black_background,
            "canvas_size": canvas_size if draws_controlnet else None,
        },
        canvas_size=canvas_size,
        draw_heatmaps=draw_heatmap,
        shows_frames=show,
        suppress_similar=suppresses,
        num_instances=None if num_instances < 0 else num_instances,
        formats=tuple(formats),
        motion={"joint_names": joint_names, "length_unit": length_unit, "together": people_together},
    )
    report = RunReport(*((out_dir,) if out_dir else (pred_out_dir, vis_out_dir)))

    def make_source(skip: "Callable[[MediaItem], bool]") -> "Source":
        from hfpose.media.sources import open_source

        options: dict[str, Any] = {"recursive": recursive, "skip": skip, "live": live, "reconnect": reconnect}
        return open_source(inputs if len(inputs) > 1 else inputs[0], **options)

    with naming_resume(report):
        if ray is not None:
            if out_dir is None or pred_out_dir or vis_out_dir or show:
                raise typer.BadParameter("it needs --out-dir, and no other folder or window.", param_hint="--ray")
            from hfpose.distributed.ray_run import Cluster

            cluster = Cluster(ray, workers, cpus_per_worker, gpus_per_worker)
            options = {"segment_frames": segment_frames, "images_together": track is not None}
            run, source = predict_on_cluster(
                job, make_source, out_dir, resume, cluster, report, show_progress, options
            )
        else:
            if out_dir and "://" in out_dir:
                raise typer.BadParameter("a URL needs --ray; else give a folder.", param_hint="--out-dir")
            folders = {
                "out_dir": Path(out_dir) if out_dir else None,
                "pred_out_dir": pred_out_dir,
                "vis_out_dir": vis_out_dir,
            }
            run, source = predict_here(job, make_source, folders, resume, report, show_progress, show, wait_time)
    for line in report.lines(run.skipped, source.left_out):
        print(line, file=sys.stderr)
    if run.failures:
        raise typer.Exit(1)


def _print_aliases(scope: str) -> None:
    from hfpose.compat.mmpose.aliases import get_model_aliases

    aliases = get_model_aliases(scope)
    width = max(map(len, aliases)) + 2
    for alias, name in [("ALIAS", "MODEL_NAME"), *sorted(aliases.items())]:
        print(alias.ljust(width) + name)
