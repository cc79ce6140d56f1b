"""Poses from image files and a clip: hfpose with each backend, and rtmlib with two on the same weights.

    python benchmarks/end_to_end.py                 # everything; results in out/benchmarks
    python benchmarks/end_to_end.py --write-docs    # and the tables in docs/performance.md
    python benchmarks/end_to_end.py --quick         # a few seconds: does it run?
    python benchmarks/end_to_end.py --parts one_stage --write-docs     # RTMO beside RTMPose with a detector

Each system has a process of its own. The systems take turns in each repetition, so that all of them meet the same load
of the machine. An image counts from its file to keypoints; drawing is measured beside it. No system averages over
flipped crops (rtmlib cannot). rtmlib runs one person at a time, hfpose all people of an image at once. "hfpose auto"
is what a user gets with the extra `openvino`, "hfpose torch" without; both compute in bfloat16 where they find that
good, as "rtmlib openvino" does. "onnxruntime int8" runs what `hfpose export --int8 static` writes; all others compute
in float32. Processes of rtmlib do not import torch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import measuring
from measuring import Spread, in_turns, machine, machine_sentence, milliseconds, percent, table, write_report
from systems import BACKENDS, INT8, RTMLIB, RTMLIB_OPENVINO, STAGES, make_system, system_names
from work import Workload

PARTS = ("start", "images", "clip", "one_stage")
PEOPLE = (1, 4, 16)
# What one-stage models are run with.
ONE_STAGE_SYSTEMS = ("hfpose auto", "hfpose torch", "hfpose onnxruntime", RTMLIB, RTMLIB_OPENVINO)
CLIP_FRAMES, CLIP_BATCH = 300, 8
START_REPETITIONS = 3
WARM_UP = 4  # hfpose and torch.compile prepare themselves in the first runs
PAUSE = 0.05  # seconds in which threads of the system that ran before fall asleep


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    repetitions, clip_repetitions, frames = options.repetitions, options.clip_repetitions, options.clip_frames
    if options.quick:
        repetitions, clip_repetitions, frames = 2, 1, 8
    # Processes of the systems import this file, and those of rtmlib are to be without torch.
    from transformers.utils import logging

    from workloads import make_one_stage_models, make_workload

    facts = machine(options.threads)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        workload = make_workload(Path(folder), options.people, frames, is_small=options.quick)
        if "one_stage" in options.parts:
            workload = replace(workload, one_stage=make_one_stage_models(Path(folder) / "one_stage", options.quick))
        names = options.systems or system_names(list(options.backends))
        if any(name.startswith(RTMLIB) for name in names):
            from rtmlib_export import export_for_rtmlib

            workload = replace(workload, rtmlib_files=export_for_rtmlib(workload))
        if "one_stage" in options.parts:
            libraries = [name for name in names if name in ONE_STAGE_SYSTEMS]
            models = [f"{model}, " for model in workload.one_stage or ()]
            compared = [f"{model}{library}" for model in (*models, "") for library in libraries]
            with _Workers(compared, workload, options.threads, options.clip_batch) as workers:
                images = _images(workers, workload, repetitions)
            results = {"machine": facts, "images": images, "repetitions": repetitions}
            write_report("one_stage", options.output, one_stage_report(results), results, options.write_docs)
        if not {"start", "images", "clip"} & set(options.parts):
            return
        with _Workers(names, workload, options.threads, options.clip_batch) as workers:
            results = {
                "machine": facts,
                "people": workload.where_people_come_from,
                "pose": workload.pose_name,
                "start": _starts(workers, workload, options) if "start" in options.parts else {},
                "images": _images(workers, workload, repetitions) if "images" in options.parts else {},
                "clip": _clip(workers, workload, clip_repetitions) if "clip" in options.parts else {},
                "differences": workers.differences(workload),
                "int8_errors": _int8_errors(workers, workload),
                "settings": {"clip_batch": options.clip_batch, "clip_frames": frames, "repetitions": repetitions},
            }
    write_report("end_to_end", options.output, report(results), results, options.write_docs)


def _parser() -> argparse.ArgumentParser:
    parser = measuring.parser(
        __doc__,
        PARTS,
        "of all libraries; default: what each takes of itself",
        "few repetitions, a short clip and a tiny network",
    )
    parser.add_argument("--backends", nargs="+", default=tuple(BACKENDS), choices=tuple(BACKENDS), help="of hfpose")
    parser.add_argument("--systems", nargs="+", help="instead: 'hfpose torch', 'rtmlib', ...")
    parser.add_argument("--people", nargs="+", type=int, default=PEOPLE, help="people in the images")
    parser.add_argument("--repetitions", type=int, default=15, help="of each image")
    parser.add_argument("--clip-repetitions", type=int, default=2)
    parser.add_argument("--clip-frames", type=int, default=CLIP_FRAMES)
    parser.add_argument("--clip-batch", type=int, default=CLIP_BATCH, help="batch_size of hfpose for the clip")
    return parser


# ---- one process for each system


class _Workers:
    """The processes of the systems, which wait for their turns."""

    def __init__(self, names: Sequence[str], workload: Workload, threads: int | None, clip_batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: dict[str, Connection] = {}
        self._processes = []
        for name in names:
            ours, theirs = context.Pipe()
            arguments = (theirs, name, workload, threads, clip_batch)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            is_ready, message = ours.recv()  # one after the other, since loading exports and compiles
            print(f"{name}: {message}", flush=True)
            if is_ready:
                self._connections[name] = ours
        if not self._connections:
            raise SystemExit("No system could be made; see above.")

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()
        for process in self._processes:
            process.join(timeout=10)

    @property
    def names(self) -> list[str]:
        return list(self._connections)

    def ask(self, name: str, *request: Any) -> Any:
        """Let a system do something, and return what it says.

        Raises:
            RuntimeError: if its process has ended.
        """
        time.sleep(PAUSE)
        try:
            self._connections[name].send(request)
            return self._connections[name].recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"The process of {name} has ended; its error is above.") from error

    def differences(self, workload: Workload) -> dict[str, dict[str, float]]:
        """By system and number of people the share of keypoints within a pixel of the first system's.

        All get the same boxes. The largest distance would say nothing: with seeded weights many places score nearly
        alike, and the smallest difference moves a keypoint from one to the other.
        """
        shares: dict[str, dict[str, float]] = {name: {} for name in self.names[1:]}
        for image in workload.images:
            request = ("keypoints", image.path, image.people_boxes)
            reference, *others = (self.ask(name, *request) for name in self.names)
            for name, keypoints in zip(shares, others, strict=True):
                is_near = np.linalg.norm(keypoints - reference, axis=-1) <= 1
                shares[name][str(image.people)] = float(is_near.mean())
        return shares


def _serve(connection: Connection, name: str, workload: Workload, threads: int | None, clip_batch: int) -> None:
    """Make a system and do what is asked until the requests end."""
    start = time.perf_counter()
    try:
        system = make_system(name, workload, threads, clip_batch)
    except Exception as error:  # a package or compiler that is missing: the others are compared without this one
        connection.send((False, f"left out: {error}"))
        return
    connection.send((True, f"ready after {time.perf_counter() - start:.1f} s"))
    actions = {"image": _run_image, "clip": _run_clip, "keypoints": lambda system, *rest: system.keypoints(*rest)}
    while True:
        try:
            action, *arguments = connection.recv()
        except EOFError:
            return
        connection.send(actions[action](system, *arguments))


def _run_image(system: Any, path: Path, boxes: list[list[float]] | None) -> dict[str, Any]:
    measuring.restart_peak()
    system.watch.take()
    start = time.perf_counter()
    found = system.image(path, boxes)
    total = time.perf_counter() - start
    stages = system.watch.take()
    stages["rest"] = total - sum(stages.values())
    stages["draw"] = measuring.seconds(lambda: system.draw(found))
    return {"seconds": total, "stages": stages, "peak": measuring.peak_megabytes()}


def _run_clip(system: Any, path: Path, boxes: list[list[float]] | None) -> dict[str, Any]:
    measuring.restart_peak()
    system.watch.take()
    people, memory = [], []
    start = time.perf_counter()
    for count in system.clip(path, boxes):
        people.append(count)
        memory.append(measuring.memory_megabytes())
    total = time.perf_counter() - start
    stages = system.watch.take()
    stages["rest"] = total - sum(stages.values())
    return {
        "seconds": total,
        "stages": stages,
        "peak": measuring.peak_megabytes(),
        "frames": len(people),
        "people": sum(people),
        "memory": [memory[len(memory) // 3], memory[-1]],
    }


# ---- what is measured


def _starts(workers: _Workers, workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """What it takes from the first import to the first result, in fresh processes, with everything in the cache."""
    context = multiprocessing.get_context("spawn")
    answers: dict[str, list[float | None]] = {name: [] for name in workers.names}

    def run(name: str) -> float:
        ours, theirs = context.Pipe()
        process = context.Process(target=_first_result, args=(theirs, name, workload, options.threads))
        process.start()
        seconds, peak = ours.recv()
        process.join()
        answers[name].append(peak)
        return float(seconds)

    repetitions = 1 if options.quick else START_REPETITIONS
    times = in_turns({name: partial(run, name) for name in workers.names}, repetitions, warm_up=0)
    return {name: {"seconds": times[name], "peak": answers[name][-1]} for name in workers.names}


def _first_result(connection: Connection, name: str, workload: Workload, threads: int | None) -> None:
    start = time.perf_counter()
    first = workload.images[0]
    make_system(name, workload, threads, CLIP_BATCH).image(first.path, first.boxes)
    connection.send((time.perf_counter() - start, measuring.peak_megabytes()))


def _images(workers: _Workers, workload: Workload, repetitions: int) -> dict[str, Any]:
    results = {}
    for image in workload.images:
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in workers.names}

        def run(name: str, image: Any = image, answers: Any = answers) -> float:
            answers[name].append(workers.ask(name, "image", image.path, image.boxes))
            return answers[name][-1]["seconds"]

        times = in_turns({name: partial(run, name) for name in workers.names}, repetitions, warm_up=WARM_UP)
        results[str(image.people)] = {
            name: {
                "seconds": times[name],
                "stages": _mean_stages(answers[name][WARM_UP:]),
                "peak": answers[name][-1]["peak"],
            }
            for name in workers.names
        }
    return results


def _clip(workers: _Workers, workload: Workload, repetitions: int) -> dict[str, Any]:
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in workers.names}

    def run(name: str) -> float:
        answers[name].append(workers.ask(name, "clip", workload.clip, workload.clip_boxes))
        return answers[name][-1]["seconds"]

    times = in_turns({name: partial(run, name) for name in workers.names}, repetitions, warm_up=0)
    return {
        name: {**answers[name][-1], "seconds": times[name], "stages": _mean_stages(answers[name])}
        for name in workers.names
    }


def _mean_stages(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    stages = {stage for answer in answers for stage in answer["stages"]}
    return {stage: sum(answer["stages"].get(stage, 0.0) for answer in answers) / len(answers) for stage in stages}


def _int8_errors(workers: _Workers, workload: Workload) -> dict[str, Any]:
    if f"hfpose {INT8}" not in workers.names:
        return {}
    from eight_bits import errors_with_trained_weights

    return errors_with_trained_weights(workload)


# ---- what is written


def report(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    settings = results["settings"]
    parts = [f"Measured with `python benchmarks/end_to_end.py`. {machine_sentence(results['machine'])}"]
    parts.append(
        f"{results['people']} {results['pose']} with seeded weights, no flip test. Median and quartiles of "
        f"{settings['repetitions']} interleaved repetitions, from an image file to keypoints."
    )
    if results["start"]:
        parts += [
            "**From the first import to the first result** of one image, in a process of its own, with graphs and "
            "models in the cache",
            _start_table(results["start"]),
        ]
    for people, systems in results["images"].items():
        parts += [
            f"**{people} {'person' if people == '1' else 'people'} in an image**",
            _image_table(systems, int(people)),
        ]
    if results["images"]:
        parts += ["**Where the time goes** (drawing comes on top)", _share_table(results["images"])]
    if results["clip"]:
        frames = max(result["frames"] for result in results["clip"].values())
        parts += [
            f"**A clip of {frames} frames** (hfpose reads {settings['clip_batch']} frames at once)",
            _clip_table(results["clip"]),
        ]
    if results["differences"]:
        parts += [
            "**Keypoints within a pixel of the first system's**, in the same boxes. Where two places score nearly "
            "alike, as many do with seeded weights, rounding moves a keypoint from one to the other",
            _difference_table(results["differences"]),
        ]
    if results["int8_errors"]:
        parts += [
            "**What 8 bits change where weights are trained**, by the `quantization.json` of the export:",
            _error_table(results["int8_errors"]),
        ]
    return "\n\n".join(parts)


def one_stage_report(results: Mapping[str, Any]) -> str:
    """What RTMO takes for an image, beside RTMPose with a detector, as Markdown."""
    parts = [
        f"Measured with `python benchmarks/end_to_end.py --parts one_stage`. {machine_sentence(results['machine'])}"
    ]
    parts.append(
        "RTMO at 640x640 with seeded weights, which find nothing: what it takes depends on its candidates, always as "
        "many, and hardly on the people. Rows without RTMO are RTMPose-m 256x192 after RTMDet-nano 320. Median of "
        f"{results['repetitions']} interleaved repetitions, from an image file to keypoints, in ms; in brackets how "
        "many times as fast as rtmlib with the same model and ONNX Runtime. rtmlib leaves the type to OpenVINO, which "
        "takes bfloat16 where the processor has it; hfpose runs RTMO in float32."
    )
    counts = list(results["images"])
    rows = []
    for name in results["images"][counts[0]]:
        model, _, library = name.rpartition(", ")
        cells = []
        for systems in results["images"].values():
            rival = f"{model}, {RTMLIB}" if model else RTMLIB
            ratio = f" ({_ratio(systems, name, rival)})" if rival in systems and rival != name else ""
            cells.append(f"{1000 * Spread.of(systems[name]['seconds']).median:.0f}{ratio}")
        rows.append([model or "RTMDet-nano, RTMPose-m", library, *cells])
    parts.append(
        table(("model", "library", *("1 person" if count == "1" else f"{count} people" for count in counts)), rows)
    )
    return "\n\n".join(parts)


def _image_table(systems: Mapping[str, Any], people: int) -> str:
    references = _references(systems)
    rows = []
    for name, result in systems.items():
        spread = Spread.of(result["seconds"])
        rows.append(
            [
                name,
                milliseconds(spread),
                *(_ratio(systems, name, reference) for reference in references),
                f"{people / spread.median:.1f}",
                _megabytes(result),
            ]
        )
    ratios = (f"times as fast as {reference}" for reference in references)
    return table(("", "ms", *ratios, "people per second", "peak memory, MB"), rows)


def _start_table(systems: Mapping[str, Any]) -> str:
    rows = [[name, f"{Spread.of(each['seconds']).median:.2f}", _megabytes(each)] for name, each in systems.items()]
    return table(("", "s", "peak memory, MB"), rows)


def _share_table(images: Mapping[str, Any]) -> str:
    rows = []
    for people, systems in images.items():
        for name, result in systems.items():
            stages = result["stages"]
            total = sum(seconds for stage, seconds in stages.items() if stage != "draw")
            rows.append([f"{name}, {people}", *(percent(stages.get(stage, 0.0) / total) for stage in STAGES)])
    return table(("system, people", *STAGES), rows)


def _clip_table(systems: Mapping[str, Any]) -> str:
    references = _references(systems)
    rows = []
    for name, result in systems.items():
        spread = Spread.of(result["seconds"])
        memory = "" if None in result["memory"] else " to ".join(f"{value:.0f}" for value in result["memory"])
        rows.append(
            [
                name,
                f"{spread.median:.2f}",
                *(_ratio(systems, name, reference) for reference in references),
                f"{result['frames'] / spread.median:.1f}",
                f"{result['people'] / spread.median:.1f}",
                _megabytes(result),
                memory,
            ]
        )
    ratios = (f"times as fast as {reference}" for reference in references)
    header = ("", "s", *ratios, "frames per second", "people per second", "peak memory, MB")
    return table((*header, "memory after a third and at the end, MB"), rows)


def _difference_table(differences: Mapping[str, Mapping[str, float]]) -> str:
    counts = list(next(iter(differences.values())))
    rows = [[name, *(f"{shares[count]:.1%}" for count in counts)] for name, shares in differences.items()]
    return table(("", *(f"{count} {'person' if count == '1' else 'people'}" for count in counts)), rows)


def _error_table(errors: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, error in errors.items():
        found = "" if error["lost_boxes"] is None else f"{error['lost_boxes']} lost, {error['added_boxes']} added"
        distances = ("" if error[key] is None else f"{error[key]:.2f}" for key in ("mean", "largest"))
        rows.append([name, f"{error['samples']} {error['measured_on']}", *distances, found])
    return table(("", "measured on", "mean distance, px", "largest, px", "boxes"), rows)


def _references(systems: Mapping[str, Any]) -> list[str]:
    return [name for name in (RTMLIB, RTMLIB_OPENVINO) if name in systems] or [next(iter(systems))]


def _ratio(systems: Mapping[str, Any], name: str, reference: str) -> str:
    """How many times as fast: the median over the repetitions, each of which ran both shortly after each other."""
    pairs = zip(systems[reference]["seconds"], systems[name]["seconds"], strict=True)
    return f"{Spread.of([other / own for other, own in pairs]).median:.2f}"


def _megabytes(result: Mapping[str, Any]) -> str:
    return "" if result["peak"] is None else f"{result['peak']:.0f}"


if __name__ == "__main__":
    main()
