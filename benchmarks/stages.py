"""Where the time goes inside of hfpose, and how it grows with the number of images and of people.

    python benchmarks/stages.py                 # everything; results in out/benchmarks
    python benchmarks/stages.py --write-docs    # and the tables in docs/performance.md
    python benchmarks/stages.py --quick         # a few seconds: does it run?
    python benchmarks/stages.py --device cuda --dtype auto --clip-batch 32 --write-docs

On an accelerator networks and clips are measured with all that can run them there: torch with CUDA graphs and without,
torch.compile, and ONNX Runtime where it has a provider.

The floor is the bare forward pass: the network alone, on input that lies ready. What a pipeline takes beyond that is
overhead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging

import measuring
from hfpose.errors import ConfigError
from hfpose.media.images import load_image
from hfpose.pipelines.stage import Stage
from measuring import (
    Spread,
    in_turns,
    machine,
    machine_sentence,
    memory_megabytes,
    milliseconds,
    percent,
    seconds,
    table,
    wait_for,
    write_report,
)
from systems import BACKENDS, EAGER, STAGES, HfposeSystem
from workloads import Image, Workload, make_clip, make_image, make_wide_image, make_workload

PARTS = ("forward", "images", "video", "chain", "counts", "people")
FORWARD_BATCHES = {"detector": (1, 4, 8), "pose": (1, 4, 8, 16, 32)}
ACCELERATOR_BATCHES = {"detector": (1, 8, 32), "pose": (1, 4, 16, 64, 128, 256)}
NUM_IMAGES = (1, 10, 100, 1000)
NUM_PEOPLE = (1, 2, 4, 8, 16, 32, 64)
FULL_HD = (1920, 1080)
WARM_UP = 4
CPU_PEAK_SIDE, ACCELERATOR_PEAK_SIDE = 4096, 8192  # of matrices
WAYS = (
    "torch",
    EAGER,
    "compile",
    "onnxruntime",
)  # that networks may run on an accelerator; the first with CUDA graphs


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.repetitions, options.clip_frames, options.images, options.crowds = 2, 6, [1, 10], [1, 4]
        options.clip_repetitions = 2
    logging.disable_progress_bar()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    facts = machine(options.threads, options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = make_workload(folder / "workload", clip_frames=options.clip_frames, is_small=options.quick)
        bench = _Bench(workload, folder, options)
        results: dict[str, Any] = {
            "machine": facts,
            "pose": workload.pose_name,
            "backend": options.backend,
            "device": options.device,
            "dtype": options.dtype,
            "clip_batch": options.clip_batch,
        }
        for part in options.parts:
            results[part] = getattr(bench, part)()
            print(*WRITERS[part](results[part]), sep="\n\n", flush=True)  # also where it is stopped later
    name = "stages" if torch.device(options.device).type == "cpu" else "stages_accelerator"
    write_report(name, options.output, report(results), results, options.write_docs)


def _parser() -> argparse.ArgumentParser:
    parser = measuring.parser(
        __doc__,
        PARTS,
        "of torch and OpenCV; default: what they take of themselves",
        "few repetitions, short inputs and a tiny network",
    )
    parser.add_argument("--backend", default="torch", choices=tuple(BACKENDS))
    parser.add_argument("--device", default="cpu", help="of both networks, such as cuda")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="to run networks on an accelerator")
    parser.add_argument("--dtype", default="float32", choices=("auto", "float32", "float16", "bfloat16"))
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--clip-frames", type=int, default=300)
    parser.add_argument("--clip-repetitions", type=int, default=4)
    parser.add_argument("--clip-batch", type=int, default=8, help="frames that go through the detector at once")
    parser.add_argument("--images", nargs="+", type=int, default=NUM_IMAGES, help="numbers of images")
    parser.add_argument("--crowds", nargs="+", type=int, default=NUM_PEOPLE, help="numbers of people in one image")
    return parser


class _Bench:
    """The measurements, by the names of `PARTS`."""

    def __init__(self, workload: Workload, folder: Path, options: argparse.Namespace) -> None:
        self.workload = workload
        self.folder = folder
        self.options = options
        self.is_on_cpu = torch.device(options.device).type == "cpu"
        self.system = self._system(options.backend)
        self.stages: dict[str, Stage] = self.system.pipeline.stages

    def _system(self, way: str) -> HfposeSystem:
        # torch.compile takes a network as it is; there is no other type within.
        dtype = "float16" if way == "compile" and self.options.dtype == "auto" else self.options.dtype
        return HfposeSystem(self.workload, way, self.options.clip_batch, self.options.device, dtype)

    @cached_property
    def ways(self) -> dict[str, HfposeSystem]:
        """What can run the networks, by name; on a CPU what was asked for."""
        if self.is_on_cpu:
            return {self.options.backend: self.system}
        systems = {way: self._system_if_possible(way) for way in self.options.ways}
        return {way: system for way, system in systems.items() if system is not None}

    def _system_if_possible(self, way: str) -> HfposeSystem | None:
        try:
            return self._system(way)
        except ConfigError as error:
            print(f"{way} is left out: {error}", flush=True)
            return None

    def forward(self) -> dict[str, Any]:
        """Seconds of bare forward passes by stage, way and batch size, their operations, and how many the device can
        do."""
        batches = FORWARD_BATCHES if self.is_on_cpu or self.options.quick else ACCELERATOR_BATCHES
        passes: dict[str, Any] = {}
        for name in self.stages:
            runs = {
                f"{way}, {batch}": _bare_forward(system.pipeline.stages[name], batch)
                for batch in batches[name]
                for way, system in self.ways.items()
            }
            actions = {key: partial(seconds, run) for key, run in runs.items()}
            passes[name] = in_turns(actions, self.options.repetitions, WARM_UP)
        side = (CPU_PEAK_SIDE if self.is_on_cpu else ACCELERATOR_PEAK_SIDE) // (8 if self.options.quick else 1)
        return {
            "passes": passes,
            "operations": {name: _operations(stage) for name, stage in self.stages.items()},
            "peak": _peak(self.stages["pose"], self.options.repetitions, side),
        }

    def images(self) -> dict[str, Any]:
        """Stages of single images, by number of people."""
        return {str(image.people): self._stages_of(image) for image in self.workload.images}

    def _stages_of(self, image: Image) -> dict[str, Any]:
        times: list[dict[str, float]] = []
        for _ in range(WARM_UP + self.options.repetitions):
            self.system.watch.take()
            total = seconds(lambda: self.system.image(image.path, image.boxes))
            found = self.system.watch.take()
            times.append({**found, "total": total, "rest": total - sum(found.values())})
        image_and_output = self.system.image(image.path, image.boxes)
        self.system.watch.take()
        measured = times[WARM_UP:]
        return {
            "stages": {name: _median([run.get(name, 0.0) for run in measured]) for name in (*STAGES, "total")},
            "draw": _median([seconds(lambda: self.system.draw(image_and_output)) for _ in measured]),
            "outside": self._outside(lambda: self.system.plain_image(image.path, image.boxes)),
        }

    def _outside(self, run: Callable[[], object]) -> float:
        """Share of the time that a call spends outside of forward passes."""
        shares = []
        for _ in range(self.options.repetitions):
            self.system.forward_seconds.clear()
            total = seconds(run)
            shares.append(1 - sum(self.system.forward_seconds) / total)
        return _median(shares)

    def video(self) -> dict[str, Any]:
        """Clips of 640 pixels and in full HD against the sums of their bare forward passes, in turns."""
        frames = self.options.clip_frames
        source = make_image(self.folder / "video.jpg", 4, self.workload.detector)
        large = make_clip(self.folder / "large.mp4", source, max(frames // 5, 5), FULL_HD)
        boxes = _scaled(source, FULL_HD)
        results = {}
        for name, path, given in (("640", self.workload.clip, self.workload.clip_boxes), ("1080p", large, boxes)):
            rounds = []
            for _ in range(self.options.clip_repetitions):
                self.system.forward_seconds.clear()
                self.system.forward_batches.clear()
                memory: list[float | None] = []
                total = seconds(partial(self._watch_clip, path, given, memory))
                inside, batches = sum(self.system.forward_seconds), Counter(self.system.forward_batches)
                bare = sum(count * self._bare_seconds(*batch) for batch, count in batches.items())
                rounds.append((total, bare, 1 - inside / total))
            totals, bares, outside = zip(*rounds, strict=True)
            results[name] = {
                "frames": len(memory),
                "seconds": _median(totals),
                "outside": _median(outside),
                "to_bare": _to_bare(totals, bares),
                "people": sum(count * batch for (stage, batch), count in batches.items() if stage == "pose"),
                "memory": [memory[index] for index in (len(memory) // 3, 2 * len(memory) // 3, -1)],
            }
        return results

    def _watch_clip(self, path: Path, boxes: Any, memory: list[float | None]) -> None:
        memory.extend(memory_megabytes() for _ in self.system.clip(path, boxes))

    def _bare_seconds(self, stage: str, batch: int) -> float:
        run = _bare_forward(self.stages[stage], batch)
        return _median(in_turns({"": lambda: seconds(run)}, min(self.options.repetitions, 5))[""])

    def chain(self) -> dict[str, Any]:
        """Frames a second of clips in full HD by the number of people and what runs the networks, in turns, and the
        people that are found in a frame."""
        return {str(image.people): self._rates(image.people) for image in self.workload.images}

    def _rates(self, people: int) -> dict[str, Any]:
        wide = make_wide_image(self.folder / f"wide-{people}.jpg", people, self.workload.detector)
        clip = make_clip(self.folder / f"wide-{people}.mp4", wide, max(self.options.clip_frames // 2, 5), FULL_HD)
        boxes = _scaled(wide, FULL_HD)
        found: list[int] = []

        def rate(system: HfposeSystem) -> float:
            start = time.perf_counter()
            found[:] = system.clip(clip, boxes)
            return len(found) / (time.perf_counter() - start)

        actions = {way: partial(rate, system) for way, system in self.ways.items()}
        rates = in_turns(actions, self.options.clip_repetitions)
        return {"rates": rates, "found": sum(found) / len(found)}

    def counts(self) -> dict[str, float]:
        """Seconds for so many images of four people, eight at once."""
        image = next(image for image in self.workload.images if image.people == 4)
        results = {}
        for count in self.options.images:
            boxes = None if image.boxes is None else [image.boxes] * count

            def run(count: int = count, boxes: Any = boxes) -> None:
                for _ in self.system.pipeline([str(image.path)] * count, boxes=boxes, batch_size=8):
                    pass

            repetitions = max(1, min(self.options.repetitions, 30 // count))
            results[str(count)] = _median([seconds(run) for _ in range(repetitions)])
        return results

    def people(self) -> dict[str, list[float]]:
        """Seconds for one image with so many given boxes."""
        image = load_image(self.workload.images[0].path)
        height, width = image.shape[:2]
        box = [width * 0.3, height * 0.1, width * 0.7, height * 0.9]
        actions = {
            str(count): lambda count=count: seconds(lambda: self.system.pipeline(image, boxes=[box] * count))
            for count in self.options.crowds
        }
        return in_turns(actions, max(2, self.options.repetitions // 3), WARM_UP)


def _to_bare(totals: Sequence[float], bares: Sequence[float]) -> float:
    """How many times as long clips took as their bare forward passes, which were measured after each clip.

    Each clip but the first is set against the passes before and after it: how fast the machine is changes in the
    meantime.
    """
    around = [(before + after) / 2 for before, after in pairwise(bares)] or bares
    return _median([total / bare for total, bare in zip(totals[-len(around) :], around, strict=True)])


def _bare_forward(stage: Stage, batch: int) -> Callable[[], object]:
    pixels = _pixels(stage, batch)

    @torch.inference_mode()
    def run() -> None:
        stage.run(pixel_values=pixels)
        wait_for(str(stage.device))

    return run


def _pixels(stage: Stage, batch: int) -> torch.Tensor:
    size = stage.image_processor.size
    pixels = torch.randn(batch, 3, size["height"], size["width"])
    return pixels.to(stage.device, stage.dtype).contiguous(memory_format=stage.memory_format)


def _operations(stage: Stage) -> int:
    """Floating point operations of a network for one image; a multiplication and an addition are two."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        stage.model(pixel_values=_pixels(stage, 1))
    return counter.get_total_flops()


def _peak(stage: Stage, repetitions: int, side: int) -> float:
    """Floating point operations a second of a product of large matrices, on the device and of the type of a stage."""
    assert stage.runner is not None
    matrix = torch.randn(side, side).to(stage.device, stage.runner.computing_dtype)

    @torch.inference_mode()
    def multiply() -> None:
        matrix @ matrix
        wait_for(str(stage.device))

    times = in_turns({"": lambda: seconds(multiply)}, repetitions, WARM_UP)[""]
    return 2 * side**3 / min(times)


def _scaled(image: Image, size: tuple[int, int]) -> list[list[float]] | None:
    """The given boxes of an image that fills `size`."""
    if image.boxes is None:
        return None
    height, width = load_image(image.path).shape[:2]
    factor = max(size[0] / width, size[1] / height)
    return [[value * factor for value in box] for box in image.boxes]


def _median(values: Sequence[float]) -> float:
    return Spread.of(values).median


# ---- what is written


def report(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    parts = [
        f'Measured with `python benchmarks/stages.py`, `backend="{results["backend"]}"`, {results["pose"]}, {results["dtype"]}. '
        f"{machine_sentence(results['machine'])}"
    ]
    for name, write in WRITERS.items():
        if name in results:
            parts += write(results[name])
    return "\n\n".join(parts)


def _forward_report(forward: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, batches in forward["passes"].items():
        for key, values in batches.items():
            way, batch = key.rsplit(", ", 1)
            spread = Spread.of(values)
            each = spread.median / int(batch)
            rate = forward["operations"][name] / each
            rows.append(
                [
                    f"{name}, {batch}",
                    way,
                    milliseconds(spread),
                    f"{each * 1e3:.2f}",
                    f"{1 / each:.0f}",
                    f"{rate / 1e9:.0f}",
                    percent(rate / forward["peak"]),
                ]
            )
    header = ("network, batch", "run by", "ms", "ms each", "a second", "GFLOP/s", "share of the peak")
    peak = f"The peak is what a product of large matrices reaches here, {forward['peak'] / 1e9:.0f} GFLOP/s."
    return ["**Bare forward passes**", table(header, rows), peak]


def _images_report(images: Mapping[str, Any]) -> list[str]:
    rows = []
    for people, result in images.items():
        stages = {**result["stages"], "draw": result["draw"]}
        values = [f"{stages[name] * 1e3:.1f}" for name in (*STAGES, "total")]
        rows.append([people, *values, percent(result["outside"])])
    header = ("people", *STAGES, "total without drawing", "outside forward passes")
    return ["**Stages of an image of 640 pixels**, ms (16 people: 480x1200)", table(header, rows)]


def _video_report(clips: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            name,
            clip["frames"],
            f"{clip['frames'] / clip['seconds']:.1f}",
            f"{clip['people'] / clip['seconds']:.1f}",
            f"{clip['to_bare']:.2f}",
            percent(clip["outside"]),
            "" if None in clip["memory"] else ", ".join(f"{value:.0f}" for value in clip["memory"]),
        ]
        for name, clip in clips.items()
    ]
    header = (
        *("clip", "frames", "frames per second", "people per second", "time / bare forward passes"),
        *("outside forward passes", "memory after each third, MB"),
    )
    return ["**Video**, read ahead in a thread while networks run", table(header, rows)]


def _chain_report(clips: Mapping[str, Any]) -> list[str]:
    rows = [
        [people, f"{clip['found']:.1f}", *(f"{Spread.of(rates).median:.0f}" for rates in clip["rates"].values())]
        for people, clip in clips.items()
    ]
    ways = next(iter(clips.values()))["rates"]
    return ["**Frames a second of clips in full HD**", table(("people", "found in a frame", *ways), rows)]


def _counts_report(images: Mapping[str, float]) -> list[str]:
    rows = [[count, f"{value:.2f}", f"{value / int(count) * 1e3:.1f}"] for count, value in images.items()]
    return ["**Number of images**, four people each", table(("images", "s", "ms each"), rows)]


def _people_report(people: Mapping[str, list[float]]) -> list[str]:
    rows = []
    for count, values in people.items():
        spread = Spread.of(values)
        rows.append([count, milliseconds(spread), f"{spread.median / int(count) * 1e3:.1f}"])
    return ["**Number of people** in given boxes of one image", table(("people", "ms", "ms each"), rows)]


WRITERS: dict[str, Callable[[Any], list[str]]] = {
    "forward": _forward_report,
    "images": _images_report,
    "video": _video_report,
    "chain": _chain_report,
    "counts": _counts_report,
    "people": _people_report,
}


if __name__ == "__main__":
    main()
