"""The arguments of a call of MMPose's inferencers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hfpose.errors import ConfigError, InputError
from hfpose.media.sources import Source
from hfpose.media.writers import WriterGroup, open_writers
from hfpose.visualization import SkeletonStyle, windows

# What older versions of MMPose call arguments, as its guide still does, and whether their value is the opposite.
_OLD_NAMES = {
    "return_datasample": ("return_datasamples", False),
    "norm_pose_2d": ("disable_norm_pose_2d", True),
    "rebase_keypoint_height": ("disable_rebase_keypoint", True),
}


@dataclass(frozen=True)
class CallOptions:
    """What an inferencer can be called with.

    Args:
        show: show each image in a window. Default: for webcams only. There, Esc ends the run.
        wait_time: seconds that an image stays in the window, or until a key is pressed; 0 waits for a key. Frames of
            videos and webcams do not wait.
        draw_bbox: draw the boxes too.
        draw_heatmap: draw the heatmaps below the poses (2D).
        radius, thickness: of keypoints and links, in pixels.
        kpt_thr: minimum score of a keypoint that is drawn.
        bbox_thr: minimum score of a box.
        nms_thr: of two boxes with a greater IoU the one with the lower score is removed.
        pose_based_nms: leave out people whose keypoints lie on those of a person with a higher score (2D).
        bboxes: boxes to use instead of the detector: for each image x1, y1, x2, y2 in pixels, or with a score as
            fifth.
        black_background: draw on black instead of the image (2D).
        skeleton_style: "mmpose" or "openpose" (2D).
        use_oks_tracking: judge whether people of two frames are the same by their keypoints, not their boxes (3D).
        tracking_thr: least such IoU or OKS (3D).
        disable_norm_pose_2d: do not scale and place poses as in the lifter's training data (3D).
        disable_rebase_keypoint: do not move each pose up or down so that its lowest keypoint has height 0 (3D).
        num_instances: how many people are drawn in 3D, a negative number for all.
        return_vis: give the drawn images, RGB, in `visualization`.
        vis_out_dir: folder for drawn images, or for a single input the file.
        pred_out_dir: folder for predictions as JSON.
        out_dir: means `vis_out_dir=out_dir/visualizations` and `pred_out_dir=out_dir/predictions` where these are not
            given.
        return_datasamples: give `PoseDataSample` objects instead of plain dicts.
        merge_results: of each image one list of instances, or one sample; False gives one for each person.
        detect_every: the detector looks at every so many frames of a video; an addition to MMPose's arguments.
        batch_size: images that go through the models at once, and that each result holds.
    """

    show: bool | None = None
    wait_time: float = 0
    draw_bbox: bool = False
    draw_heatmap: bool = False
    radius: int = 3
    thickness: int = 1
    kpt_thr: float = 0.3
    bbox_thr: float = 0.3
    nms_thr: float = 0.3
    pose_based_nms: bool = False
    bboxes: Sequence[Any] | None = None
    black_background: bool = False
    skeleton_style: SkeletonStyle = "mmpose"
    use_oks_tracking: bool = False
    tracking_thr: float = 0.3
    disable_norm_pose_2d: bool = False
    disable_rebase_keypoint: bool = False
    num_instances: int = 1
    return_vis: bool = False
    vis_out_dir: str | Path = ""
    pred_out_dir: str | Path = ""
    out_dir: str | Path | None = None
    return_datasamples: bool = False
    merge_results: bool = True
    batch_size: int = 1
    detect_every: int = 1

    @classmethod
    def parse(cls, options: dict[str, Any], is_live: bool) -> CallOptions:
        """Raises TypeError for an unknown name, ConfigError and InputError for a value that cannot be."""
        known = [field.name for field in fields(cls)]
        old = {name: options[name] for name in _OLD_NAMES if name in options}
        new = {_OLD_NAMES[name][0]: bool(value) != _OLD_NAMES[name][1] for name, value in old.items()}
        options = {name: value for name, value in options.items() if name not in old} | new
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
                raise TypeError(f"The inferencer has no argument {name!r}. {hint}")
        call = cls(**options)
        call = replace(call, out_dir=call.out_dir or None)
        if call.skeleton_style not in ("mmpose", "openpose"):
            raise ConfigError(f"skeleton_style must be 'mmpose' or 'openpose', got {call.skeleton_style!r}.")
        if call.batch_size < 1:
            raise InputError(f"batch_size is {call.batch_size}, it must be 1 or more.")
        if is_live:  # a camera's image must not wait for the next
            call = replace(call, batch_size=1, show=call.show is None or call.show)
        if call.show:
            windows.check_screen()  # now, and not when the first image is done
        return call

    @property
    def draws(self) -> bool:
        """Whether drawn images are needed."""
        return bool(self.return_vis or self.show or self.vis_out_dir or self.out_dir)

    def writers(self, source: Source) -> WriterGroup:
        """Writers of the files that the call asks for, of the results of a source."""
        return open_writers(
            out_dir=self.out_dir,
            pred_out_dir=self.pred_out_dir,
            vis_out_dir=self.vis_out_dir,
            formats=["mmpose"],
            source=source,
            keep_endings=True,
        )
