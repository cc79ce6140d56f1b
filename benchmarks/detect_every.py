"""A clip with the detector at every frame and at every Nth: hfpose, and rtmlib's PoseTracker on the same ONNX files.

    python benchmarks/detect_every.py --write-docs    # and the table in docs/performance.md

One person, RTMDet-nano with its real weights and RTMPose-m with seeded ones, one thread. The systems take turns in
each repetition. Keypoint scores of seeded weights say nothing, so the test for people who are lost is off.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

import measuring
from hfpose import pipeline
from hfpose.backends.base_backend import Backend
from hfpose.pipelines import box_following
from measuring import in_turns, machine, machine_sentence, processor_seconds, table, write_report
from rtmlib_export import export_for_rtmlib
from systems import RtmlibSystem, system_names
from work import Workload
from workloads import make_clip, make_detector, make_image, make_pose_model


def hfpose_run(workload: Workload, backend: Backend) -> Callable[[int], object]:
    pipe = pipeline(
        "pose-estimation",
        model=workload.pose,
        detector=workload.detector,
        backend=backend,
        dtype="float32",
        device="cpu",
    )
    return lambda every: [len(people) for people in pipe(str(workload.clip), detect_every=every)]


def rtmlib_run(workload: Workload) -> Callable[[int], object]:
    import rtmlib

    tools = RtmlibSystem(workload, 1, "onnxruntime")

    def solution(**options: Any) -> SimpleNamespace:
        return SimpleNamespace(det_model=tools.detector, pose_model=tools.pose)

    def run(every: int) -> object:
        tracker = rtmlib.PoseTracker(solution, det_frequency=every, tracking=False)
        return [len(tracker(image)[0]) for image in _frames(workload.clip)]

    return run


def _frames(clip: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(clip))
    while (read := capture.read())[0]:
        yield read[1]
    capture.release()


def main() -> None:
    parser = measuring.parser(__doc__, quick="a tiny network and 10 frames: does it run?")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    frames = 10 if options.quick else options.frames
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    box_following._LEAST_SCORE = -np.inf
    facts = machine(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pose, detector = make_pose_model(work / "pose", options.quick), make_detector(work / "detector")
        image = make_image(work / "one.jpg", 1, detector)
        clip = make_clip(work / "clip.mp4", image, frames)
        workload = Workload("", pose, detector, (image,), clip, frames, image.boxes)
        runs = {f"hfpose {backend}": hfpose_run(workload, backend) for backend in ("torch", "onnxruntime")}
        if "rtmlib" in system_names([]):
            runs["rtmlib"] = rtmlib_run(replace(workload, rtmlib_files=export_for_rtmlib(workload)))
        actions = {
            f"{name}, {every}": partial(processor_seconds, partial(run, every))
            for name, run in runs.items()
            for every in (1, options.every)
        }
        spent = in_turns(actions, options.repetitions, warm_up=0)  # of three values the median leaves out the first
    rows = []
    for name in runs:
        every_frame, some_frames = (statistics.median(spent[f"{name}, {every}"]) for every in (1, options.every))
        rows.append(
            (name, f"{frames / every_frame:.1f}", f"{frames / some_frames:.1f}", f"{every_frame / some_frames:.2f}")
        )
    header = ("frames a second of the processor", "every frame", f"every {options.every}", "ratio")
    text = f"{machine_sentence(facts)}\n\n{table(header, rows)}"
    write_report("detect_every", options.output, text, {**facts, "seconds": spent}, options.write_docs)


if __name__ == "__main__":
    main()
