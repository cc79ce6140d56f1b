"""Three hundred hostile and broken inputs: nothing runs, each is one sentence, in bounded time and memory.

    python tests/hostile_inputs.py            # all, with a count; code 1 where one is not refused as it should be
    python tests/hostile_inputs.py --every 15 # a sample, as in the tests

Each case is a file or name and what a user would do with it. It may work (some oddities do no harm), or raise one of
hfpose's errors with a message of one line; an image may be refused in the `error` of its result. Anything else is a
fault: another exception, a question on the terminal, a file that appears elsewhere, more than five seconds, more than
500 MB.
"""

from __future__ import annotations

import argparse
import builtins
import copy
import io
import json
import os
import pickle
import resource
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import hfpose
from clips import write_frames
from hfpose.errors import HFPoseError
from hfpose.ops.quiet import without_progress_bars

MAX_SECONDS = 5
MAX_GROWTH = 500  # MiB
MAX_ADDRESSES = 12 << 30
CANARY = "canary"

ODD_VALUES: tuple[Any, ...] = (
    -1,
    10**9,
    1e308,
    "x",
    None,
    [],
    {"a": {"auto_map": {"AutoModel": "evil.M"}}},
    [[0] * 3] * 3,
)


@dataclass(frozen=True)
class Case:
    """An input, and what a user does with it; `run` gives the error that was told otherwise than by raising."""

    name: str
    run: Callable[[Path], str | None]


@dataclass(frozen=True)
class Verdict:
    case: str
    message: str | None  # None: it was accepted
    fault: str | None
    seconds: float
    grown: int  # MiB


class Command:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


EVIL = f"""
import os
os.system("touch {CANARY}")
from transformers import PreTrainedConfig, PreTrainedModel
class M(PreTrainedModel): pass
class C(PreTrainedConfig): pass
"""


class HostileInputs:
    """The cases, made of a small model of two layers that lies in `folder`.

    Args:
        folder: to write in; a case writes in a folder of its own below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        torch.manual_seed(0)
        schema = hfpose.load_schema("coco")
        model = hfpose.RTMPoseForPoseEstimation(
            hfpose.RTMPoseConfig(
                backbone_config=hfpose.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.0625),
                image_size=(64, 64), hidden_size=16, attention_size=8, keypoint_schema=schema.to_dict(),
            )
        )  # fmt: skip
        with without_progress_bars():
            model.save_pretrained(folder / "pose")
        hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "pose")
        self.image = np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "good.png"), self.image)

    @cached_property
    def pipe(self) -> Any:
        return hfpose.pipeline("pose-estimation", str(self.folder / "pose"), detector="whole_image", backend="torch")

    def __iter__(self) -> Iterator[Case]:
        yield from self.configurations()
        yield from self.json_files()
        yield from self.adapters()
        yield from self.checkpoints()
        yield from self.config_files()
        yield from self.images()
        yield from self.videos()
        yield from self.annotations()
        yield from self.results()
        yield from self.names()

    # Folders of models

    def _model(self, place: Path, **files: str | bytes | dict[str, Any]) -> Path:
        """A copy of the model with other files, by name without ".json"; of a dict the values that differ."""
        folder = Path(shutil.copytree(self.folder / "pose", place / "model"))
        (folder / "evil.py").write_text(EVIL)
        for name, content in files.items():
            path = folder / f"{name}.json"
            if isinstance(content, dict):
                content = json.dumps({**json.loads(path.read_text()), **content})
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def _use(self, folder: Path) -> str | None:
        pipe = hfpose.pipeline("pose-estimation", str(folder), detector="whole_image", backend="torch")
        return pipe(self.image).error

    def configurations(self) -> Iterator[Case]:
        config = json.loads((self.folder / "pose/config.json").read_text())
        fields = ("id2label", "num_labels", "image_size", "hidden_size", "attention_size", "expansion_factor", "attention_act",
                  "simcc_split_ratio", "keypoint_schema", "backbone_config", "architectures", "model_type", "dtype")  # fmt: skip
        for field in fields:
            for value in ODD_VALUES:
                yield self._with(config={field: value}, name=f"config {field}={str(value)[:30]}")
        for field in ("depth_multiplier", "width_multiplier", "out_features", "model_type", "hidden_act"):
            for value in ODD_VALUES[:5]:
                changed = {**config["backbone_config"], field: value}
                yield self._with(config={"backbone_config": changed}, name=f"backbone {field}={str(value)[:30]}")
        for field, value in (
            ("auto_map", {"AutoConfig": "evil.C", "AutoModelForPoseEstimation": "evil.M"}),
            ("backbone_config", {"model_type": "bert", "auto_map": {"AutoBackbone": "evil.M"}}),
            ("backbone_config", {"model_type": "timm_backbone", "backbone": "hf-hub:evil/model"}),
            ("attn_implementation", "evil/kernel"),
            ("quantization_config", {"quant_method": "evil"}),
            ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
            ("transformers_weights", "../../../etc/passwd"),
            ("num_hidden_layers", 10**9),
        ):
            yield self._with(config={field: value}, name=f"config {field} {str(value)[:30]}")
        yield self._with(
            config={
                "model_type": "vitpose",
                "backbone_config": {"model_type": "vitpose_backbone", "num_hidden_layers": 10**9},
            },
            name="ten to the nine layers",
        )
        processor = json.loads((self.folder / "pose/preprocessor_config.json").read_text())
        for field in (
            "size",
            "image_mean",
            "image_std",
            "box_padding",
            "channel_order",
            "rescale_factor",
            "image_processor_type",
        ):
            for value in ODD_VALUES[:6]:
                yield self._with(preprocessor_config={field: value}, name=f"processor {field}={str(value)[:30]}")
        for side in (0, 10**6, 20_000, 0.5, "64"):
            size = {"height": side, "width": 64}
            yield self._with(preprocessor_config={"size": size}, name=f"processor size {side}")
        code = {"auto_map": {"AutoImageProcessor": "evil.M"}, "image_processor_type": "M"}
        yield self._with(preprocessor_config=code, name="processor with code")
        yield self._with(preprocessor_config={**processor, "image_processor_type": "os"}, name="processor os")

    def _with(self, name: str, **files: str | bytes | dict[str, Any]) -> Case:
        return Case(name, lambda place: self._use(self._model(place, **files)))

    def json_files(self) -> Iterator[Case]:
        contents: dict[str, str | bytes] = {
            "empty": "", "cut off": '{"model_type": "rtmpose", ', "list": "[1]", "number": "1", "null": "null",
            "not utf-8": b'{"model_type": "\xff"}', "zeros": bytes(1000), "deep": "[" * 100_000,
            "deep dicts": '{"a":' * 5000 + "1" + "}" * 5000, "long number": '{"num_labels": ' + "9" * 5000 + "}",
            "nan": '{"num_labels": NaN}', "huge": '{"a": "' + "x" * (17 << 20) + '"}', "html": "<html>login</html>",
        }  # fmt: skip
        for name, content in contents.items():
            for file in ("config", "preprocessor_config", "pose_pipeline"):
                yield self._with(f"{file} {name}", **{file: content})
        for part in ("../..", "/etc", "pose\0", "", ".", "C:\\windows", 5, None, ["pose"]):
            index = json.dumps({"pipeline": "PoseEstimationPipeline", "pose": part, "detector": "whole_image"})
            yield self._with(f"index {part!r}", pose_pipeline=index)
        for shard in ("../evil.safetensors", "/etc/passwd", "missing.safetensors", 3):
            index = json.dumps({"weight_map": {"a": shard}})
            yield self._with(f"shard {shard!r}", **{"model.safetensors.index": index})
        weights = (self.folder / "pose/model.safetensors").read_bytes()
        for name, data in {
            "cut": weights[:-100], "half": weights[: len(weights) // 2], "header only": weights[:8], "nothing": b"",
            "long header": struct.pack("<Q", 2**62) + weights[8:], "text": b"not a tensor", "twice": weights * 2,
            "pickle": pickle.dumps(Command(), protocol=2),
        }.items():  # fmt: skip
            yield Case(f"weights {name}", lambda place, data=data: self._use(self._weights(place, data)))  # type: ignore[misc]
        yield Case("pickled weights alone", lambda place: self._use(self._pickled(place)))

    def _weights(self, place: Path, data: bytes) -> Path:
        folder = self._model(place)
        (folder / "model.safetensors").write_bytes(data)
        return folder

    def _pickled(self, place: Path) -> Path:
        folder = self._model(place)
        (folder / "model.safetensors").unlink()
        torch.save({"a": Command()}, folder / "pytorch_model.bin")
        return folder

    def adapters(self) -> Iterator[Case]:
        for field, values in {
            "base_model_name_or_path": (None, 5, "", "../..", "/etc", "evil/model", "pose\0"),
            "peft_type": ("PREFIX_TUNING", None, 5), "lora_alpha": ("x", None, 1e308, []), "use_dora": (True, "x"),
            "alpha_pattern": ({"(a+)+$": 1}, "x"), "layer_replication": ([[0, 10**9]],), "use_rslora": ("x",),
        }.items():  # fmt: skip
            for value in values:
                yield self._adapter(f"{field}={str(value)[:20]}", {field: value}, {"head.embedding": (16, 4)})
        for name, layers in {
            "of another size": {"head.embedding": (9, 9)}, "of no layer": {"nothing": (4, 4)}, "of no name": {"": (4, 4)},
        }.items():  # fmt: skip
            yield self._adapter(name, {}, layers)
        yield Case("adapter without weights", lambda place: self._use(self._adapted(place, {}, None)))

    def _adapter(self, name: str, config: dict[str, Any], layers: dict[str, tuple[int, int]]) -> Case:
        return Case(f"adapter {name}", lambda place: self._use(self._adapted(place, config, layers)))

    def _adapted(self, place: Path, changed: dict[str, Any], layers: dict[str, tuple[int, int]] | None) -> Path:
        from safetensors.torch import save_file

        folder = place / "adapter"
        folder.mkdir()
        config = {
            "peft_type": "LORA",
            "lora_alpha": 4,
            "base_model_name_or_path": str(self.folder / "pose"),
            **changed,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        if layers is None:
            (folder / "adapter_model.bin").write_bytes(pickle.dumps(Command()))
            return folder
        shapes = {
            f"base_model.model.{layer}.lora_{matrix}.weight": shape
            for layer, (out, into) in layers.items()
            for matrix, shape in (("A", (2, into)), ("B", (out, 2)))
        }
        save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, folder / "adapter_model.safetensors")
        return folder

    # Checkpoints and config files of the reference

    def checkpoints(self) -> Iterator[Case]:
        buffer = io.BytesIO()
        torch.save(
            {"state_dict": {"backbone.stem.0.conv.weight": torch.zeros(8, 3, 3, 3)}, "meta": {"epoch": 1}}, buffer
        )
        good = buffer.getvalue()
        legacy = io.BytesIO()
        torch.save({"state_dict": {"a": torch.zeros(3)}}, legacy, _use_new_zipfile_serialization=False)
        for share in range(1, 10):
            yield self._convert(f"zip cut at {share}0 %", good[: len(good) * share // 10])
            yield self._convert(f"legacy cut at {share}0 %", legacy.getvalue()[: len(legacy.getvalue()) * share // 10])
        random = np.random.default_rng(0)
        for index in range(20):
            data = np.frombuffer(good, dtype=np.uint8).copy()
            data[random.integers(len(data), size=5)] = random.integers(256, size=5)
            yield self._convert(f"zip with five other bytes {index}", data.tobytes())
        for protocol in range(6):
            yield self._convert(f"command, protocol {protocol}", pickle.dumps({"state_dict": Command()}, protocol))
        for name, data in {
            "nothing": b"", "text": b"hello", "page": b"<!DOCTYPE html><html>", "gzip": b"\x1f\x8b" + bytes(99),
            "lfs": b"version https://git-lfs.github.com/spec/v1\n", "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(99),
            "noise": random.bytes(9999), "zip end": b"PK\x05\x06" + bytes(18), "zip start": b"PK\x03\x04" + bytes(99),
            "memo": b"\x80\x02" + b"]q\x00h\x00" * 99 + b".", "long memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
            "long string": b"\x80\x02X\xff\xff\xff\x7fabc.", "deep": b"\x80\x02" + b"(" * 10**5 + b"." , "stop": b"\x80\x02.",
            "dup": b"\x80\x02]" + b"2" * 10**5 + b"e.", "long int": b"\x80\x02\x8b\xff\xff\xff\x7f" + bytes(99) + b".",
        }.items():  # fmt: skip
            yield self._convert(name, data)
        yield Case("bomb", lambda place: self._convert_file(self._bomb(place)))
        for name, state in {
            "list": [1], "number": 1, "nested": {"state_dict": {"state_dict": {}}}, "no tensors": {"state_dict": {"a": "b"}},
            "numbers as names": {"state_dict": {1: torch.zeros(1)}}, "whole model": torch.nn.Linear(2, 2),
            "nan": {"state_dict": {"backbone.stem.0.conv.weight": torch.full((8, 3, 3, 3), float("nan"))}},
            "sparse": {"state_dict": {"a": torch.zeros(3, 3).to_sparse()}}, "complex": {"a": torch.zeros(3, dtype=torch.complex64)},
        }.items():  # fmt: skip
            buffer = io.BytesIO()
            torch.save(state, buffer)
            yield self._convert(f"holds {name}", buffer.getvalue())

    def _convert(self, name: str, data: bytes) -> Case:
        def run(place: Path) -> None:
            (place / "file.pth").write_bytes(data)
            self._convert_file(place / "file.pth")

        return Case(f"checkpoint {name}", run)

    def _convert_file(self, path: Path, config: Path | None = None) -> None:
        name = None if config else "rtmdet_nano_320-8xb32_hand"
        hfpose.convert_checkpoint(name, path, path.parent / "converted", config=config)

    @staticmethod
    def _bomb(place: Path) -> Path:
        """A small archive whose directory names one block of zeros ten thousand times."""
        with zipfile.ZipFile(place / "bomb.pth", "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}))
            archive.writestr("archive/data/0", bytes(1 << 20))
            for index in range(1, 10_000):
                again = copy.copy(archive.filelist[1])
                again.filename = f"archive/data/{index}"
                archive.filelist.append(again)
        return place / "bomb.pth"

    def config_files(self) -> Iterator[Case]:
        model = "model = dict(type='TopdownPoseEstimator', backbone=dict(type='CSPNeXt', arch='P5', {0}), head=dict(type='RTMCCHead', {1}))"
        texts = {
            "import": f"import os\nos.system('touch {CANARY}')\n{model}", "call": f"x = __import__('os').system('touch {CANARY}')",
            "eval": f"x = eval('open(\"{CANARY}\", \"w\")')", "lambda": f"x = (lambda: open('{CANARY}', 'w'))()",
            "open": f"x = open('{CANARY}', 'w')", "getattr": "x = getattr(dict, '__class__').__mro__", "f-string": "x = f'{open.__globals__}'",
            "comprehension": "x = [i for i in range(10**9)]", "power": "x = 10**10**10", "shift": "x = 1 << 10**9", "repeat": "x = 'a' * 10**10",
            "repeat list": "x = [0] * 10**10", "round": "x = round(1, -10**9)", "loop": "while True:\n    pass", "recursion": "_base_ = 'config.py'",
            "base outside": "_base_ = '/etc/passwd'", "base missing": "_base_ = 'none.py'", "base number": "_base_ = 5", "base list": "_base_ = [[]]",
            "nothing": "", "zeros": "\0" * 10, "syntax": "model = dict(", "deep": "x = " + "(" * 5000 + ")" * 5000, "long sum": "x = 1" + "+1" * 10**5,
            "no model": "a = 1", "model list": "model = []", "model text": "model = 'a'", "no head": "model = dict(type='T', backbone=dict(type='ResNet'))",
            "head list": "model = dict(type='T', backbone=dict(type='ResNet'), head=[1])", "unknown head": "model = dict(type='T', head=dict(type='H'))",
            "class": "class A:\n    x = 1", "star": "from os import *", "format": "x = '{0.__class__}'.format(1)", "percent": "x = '%1000000000d' % 1",
            "join": "x = ','.join(['a' * 1000000] * 1000000)", "set": "x = {i: i for i in range(10**8)}", "walrus": "(x := 10**9)",
        }  # fmt: skip
        for index, setting in enumerate(
            (
                "deepen_factor=1e9",
                "widen_factor=1e9",
                "deepen_factor='a'",
                "widen_factor=None",
                "arch=5",
                "deepen_factor=-1",
            )
        ):
            texts[f"model {setting}"] = (
                model.format(setting.replace("arch=5", "out_indices=(9,)"), "out_channels=17") + f"\nindex = {index}"
            )
        for setting in (
            "out_channels=10**9",
            "out_channels='a'",
            "input_size='ab'",
            "input_size=(-1, 0)",
            "gau_cfg=None",
            "",
        ):
            texts[f"head {setting}"] = model.format("deepen_factor=0.167, widen_factor=0.375", setting)
        for name, text in texts.items():
            yield Case(f"config file {name}", lambda place, text=text: self._with_config(place, text))  # type: ignore[misc]

    def _with_config(self, place: Path, text: str) -> None:
        (place / "config.py").write_text(text)
        torch.save({"state_dict": {"a": torch.zeros(1)}}, place / "file.pth")
        self._convert_file(place / "file.pth", place / "config.py")

    # Images, videos, annotations, names

    def images(self) -> Iterator[Case]:
        for ending in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
            data = cv2.imencode(ending, self.image)[1].tobytes()
            for share in (0, 1, 5, 9):
                yield self._image(f"{ending} cut at {share}0 %", ending, data[: len(data) * share // 10])
            yield self._image(f"{ending} with zeros", ending, data[:30] + bytes(200) + data[230:])
        png = cv2.imencode(".png", self.image)[1].tobytes()
        for width in (0, 10**5, 2**31 - 1):
            yield self._image(
                f"png of {width} columns", ".png", png[:16] + struct.pack(">II", width, width) + png[24:]
            )
        yield self._image("gif of nothing", ".gif", b"GIF89a" + bytes(7) + b";")
        yield self._image("svg", ".svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>')
        yield self._image("text", ".jpg", b"not an image")
        yield self._image("page", ".jpg", b"<html>login</html>")
        yield self._image("pickle", ".npy", pickle.dumps(Command()))
        for name, array in {
            "no pixels": np.zeros((0, 5, 3), np.uint8), "one channel too many": np.zeros((5, 5, 7), np.uint8), "floats": np.ones((5, 5, 3)) * 1e9,
            "objects": np.array([Command()]), "text": np.array("a"), "five axes": np.zeros((1, 1, 1, 1, 3), np.uint8),
        }.items():  # fmt: skip
            yield Case(f"array of {name}", lambda place, array=array: self._see(array))  # type: ignore[misc]
        for name, given in {"none": None, "number": 5, "bytes": b"\0\1", "dict": {"a": 1}, "function": print}.items():
            yield Case(f"image {name}", lambda place, given=given: self._see(given))  # type: ignore[misc]
        yield Case("named pipe", lambda place: self._see(self._pipe(place)))
        yield Case("device", lambda place: self._see("/dev/zero"))
        yield Case("link to itself", lambda place: self._see(self._loop(place)))

    def _image(self, name: str, ending: str, data: bytes) -> Case:
        def run(place: Path) -> str | None:
            path = place / f"image{ending}"
            path.write_bytes(data)
            return self._see(str(path))

        return Case(f"image {name}", run)

    def _see(self, image: Any) -> str | None:
        found = self.pipe(image)
        results = [found] if hasattr(found, "error") else list(found)
        return next((result.error for result in results if result.error), None)

    @staticmethod
    def _pipe(place: Path) -> str:
        os.mkfifo(place / "pipe.jpg")
        return str(place / "pipe.jpg")

    @staticmethod
    def _loop(place: Path) -> str:
        (place / "loop.jpg").symlink_to("loop.jpg")
        return str(place / "loop.jpg")

    def videos(self) -> Iterator[Case]:
        image = self.image[:64, :60].repeat(2, 1)[:, :64]
        good = write_frames(self.folder / "good.mp4", [image] * 3).read_bytes()
        for share in (0, 1, 3, 5, 7, 9):
            yield self._image(f"mp4 cut at {share}0 %", ".mp4", good[: len(good) * share // 10])
        for start in range(4, 64, 12):
            yield self._image(
                f"mp4 with other bytes at {start}", ".mp4", good[:start] + b"\xff" * 8 + good[start + 8 :]
            )
        for ending in (".mp4", ".avi", ".mkv", ".webm", ".mov"):
            yield self._image(f"text as {ending}", ending, b"no video")

    def annotations(self) -> Iterator[Case]:
        image = {"id": 1, "file_name": "good.png", "width": 60, "height": 80}
        person: dict[str, Any] = {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 1, 20, 30],
            "keypoints": [1, 1, 2] * 17,
        }
        for field, values in {
            "bbox": (None, [], "a", [1, 2, 3], [float("nan")] * 4, [0, 0, -1, 5], [[1, 2, 3, 4]], [1e300] * 4),
            "keypoints": (None, [], "a", [1] * 50, [None] * 51, ["a"] * 51, {}), "image_id": (None, 5, "1", [1]), "category_id": (None, 99, "a"),
        }.items():  # fmt: skip
            for value in values:
                yield self._annotated(
                    f"{field}={str(value)[:20]}", {"images": [image], "annotations": [{**person, field: value}]}
                )
        for name, content in {
            "list": [], "text": "a", "no images": {"annotations": [person]}, "images text": {"images": "a", "annotations": []},
            "file outside": {"images": [{**image, "file_name": "../../../etc/passwd"}], "annotations": [person]},
            "file number": {"images": [{**image, "file_name": 5}], "annotations": [person]},
        }.items():  # fmt: skip
            yield self._annotated(name, content)

    def _annotated(self, name: str, content: Any) -> Case:
        from hfpose.annotations import pose_instances, read_coco

        def run(place: Path) -> None:
            (place / "data.json").write_text(json.dumps(content))
            shutil.copy(self.folder / "good.png", place)
            pose_instances(read_coco(place / "data.json"), hfpose.load_schema("coco"))

        return Case(f"annotations {name}", run)

    def results(self) -> Iterator[Case]:
        """Files that results of a video are read from again."""
        from hfpose.cli.plot import read_results
        from hfpose.evaluation.tracking_files import read_tracks

        person = {"keypoints": [[1, 1]] * 17, "keypoint_scores": [1] * 17, "track_id": 1}
        for name, content in {
            "nothing": None, "number": 5, "text": "a", "list of numbers": [1], "frames text": {"frames": "a"}, "frames number": {"frames": 5},
            "frame empty": {"frames": [{}]}, "frame list": {"frames": [[]]}, "no instances": [{"frame_id": 0, "instances": 5}],
            "index text": {"frames": [{"frame_index": "a", "timestamp": None, "predictions": [person]}]},
            "ragged": [{"frame_id": 0, "instances": [{**person, "keypoints": [[1], [1, 2]]}]}],
            "schema path": {"schema": "../../etc", "frames": [{"frame_index": 0, "timestamp": 0, "predictions": [person]}]},
            "schema number": {"schema": 5, "frames": [{"frame_index": 0, "timestamp": 0, "predictions": [person]}]},
            "identity text": [{"frame_id": 0, "instances": [{**person, "track_id": "a"}]}],
        }.items():  # fmt: skip
            for read in (read_results, read_tracks):
                yield self._read_again(f"results {name} by {read.__name__}", content, read)

    @staticmethod
    def _read_again(name: str, content: Any, read: Callable[[Path], Any]) -> Case:
        def run(place: Path) -> None:
            (place / "clip.json").write_text(json.dumps(content))
            read(place / "clip.json")

        return Case(name, run)

    def names(self) -> Iterator[Case]:
        for name in (
            "", " ", ".", "..", "../..", "/", "/etc/passwd", "/dev/null", "~", "~nobody/x", "\0", "a\0b", "\n", "human\n\nx", "x" * 10_000,
            "é" * 300, "CON", "NUL.py", "a/b/c", "-", "--help", "$(touch canary)", "`touch canary`", "; touch canary", "%s%n", "{0}", "http://",
            "http://[", "file:///etc/passwd", "ftp://a/b", "demo/../../x", "demo\\..", "rtmpose", "rtmpse-m", "None", "5", "\ud800", "config.json",
            "evil.py", "import os", "__import__('os')", "models--a--b",
        ):  # fmt: skip
            yield Case(f"model {name[:20]!r}", lambda place, name=name: self._named(name))  # type: ignore[misc]

    @staticmethod
    def _named(name: str) -> None:
        hfpose.pipeline("pose-estimation", model=name, detector="whole_image", backend="torch")


def try_case(case: Case, folder: Path) -> Verdict:
    """Run a case in a new folder, and see what becomes of it."""
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    (place / "work").mkdir(parents=True)
    questions: list[object] = []
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    message = fault = None
    ask, builtins.input = builtins.input, lambda *texts: questions.append(texts) or "y"
    try:
        with chdir(place / "work"):
            message = case.run(place)
    except HFPoseError as error:
        message = str(error)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"[:300]
    finally:
        builtins.input = ask
    seconds = time.monotonic() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    for problem, holds in {
        "a question was asked": bool(questions),
        "it ran": any(folder.rglob(CANARY)),
        "more than one line": "\n" in (message or "").strip(),
        "a long message": len(message or "") > 1500,
        f"{seconds:.1f} s": seconds > MAX_SECONDS,
        f"{grown} MB": grown > MAX_GROWTH,
    }.items():
        fault = problem if holds and fault is None else fault
    return Verdict(case.name, message, fault, seconds, grown)


def try_all(every: int = 1) -> list[Verdict]:
    """The verdicts about every so-manieth case."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        return [try_case(case, folder) for case in list(HostileInputs(folder))[::every]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="try every so-manieth alone")
    parser.add_argument("--verbose", action="store_true", help="print the messages too")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))  # a fault must not take the machine along
    os.environ["HF_HUB_OFFLINE"] = "1"
    verdicts = try_all(arguments.every)
    faults = [verdict for verdict in verdicts if verdict.fault]
    for verdict in verdicts if arguments.verbose else faults:
        text = f"{verdict.case}: {verdict.fault or ''} {verdict.seconds:.1f} s {verdict.message or ''}"
        print(text.encode(errors="replace").decode())
    refused = sum(verdict.message is not None for verdict in verdicts)
    slowest, most = max(v.seconds for v in verdicts), max(v.grown for v in verdicts)
    print(
        f"{len(verdicts)} inputs: {refused} refused in one sentence, {len(verdicts) - refused - len(faults)} did no "
        f"harm, {len(faults)} faults. The longest took {slowest:.1f} s, the most memory {most} MB."
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
