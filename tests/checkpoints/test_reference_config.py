from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfpose.checkpoints.custom import source_from_config
from hfpose.checkpoints.reference_config import read_reference_config
from hfpose.errors import ConfigError
from hfpose.keypoints import load_schema

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes config files by name, and gives the path of the last."""

    def write_files(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    return write_files


def test_a_config_of_its_own(write: Write) -> None:
    path = write(
        a="""
# a comment
codec = dict(type='SimCCLabel', input_size=(192, 256), sigma=(4.9, 5.66), normalize=False)
model = dict(
    head=dict(out_channels=17, in_featuremap_size=tuple([s // 32 for s in codec['input_size']]), decoder=codec),
    test_cfg=None)
"""
    )
    codec = {"type": "SimCCLabel", "input_size": (192, 256), "sigma": (4.9, 5.66), "normalize": False}
    head = {"out_channels": 17, "in_featuremap_size": (6, 8), "decoder": codec}
    assert read_reference_config(path) == {"codec": codec, "model": {"head": head, "test_cfg": None}}


def test_equal_parts_are_copies(write: Write) -> None:
    config = read_reference_config(write(a="x = dict(a=[1])\ny = x"))
    config["x"]["a"].append(2)
    assert config["y"] == {"a": [1]}


# Inheritance


def test_three_levels_of_bases(write: Write) -> None:
    path = write(
        **{"_base_/runtime": "default_scope = 'mmpose'\ntrain_cfg = dict(by_epoch=True, max_epochs=210)"},
        parent="_base_ = ['_base_/runtime.py']\nmodel = dict(backbone=dict(type='A', depth=50, out=[1, 2]), head=None)",
        child="_base_ = './parent.py'\nmodel = dict(backbone=dict(depth=18, out=[3]))\ntrain_cfg = dict(max_epochs=5)",
    )
    assert read_reference_config(path) == {
        "default_scope": "mmpose",
        "train_cfg": {"by_epoch": True, "max_epochs": 5},
        "model": {"backbone": {"type": "A", "depth": 18, "out": [3]}, "head": None},
    }


def test_bases_are_looked_up_from_the_folder_of_their_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(**{"_base_/b": "b = 1", "configs/body/rtmpose/a": "_base_ = ['../../../_base_/b.py']\na = 2"})
    assert read_reference_config(path) == {"a": 2, "b": 1}
    monkeypatch.chdir(path.parent)
    assert read_reference_config(path.name) == {"a": 2, "b": 1}


def test_delete_replaces_the_dict_of_the_base(write: Write) -> None:
    path = write(
        b="optim = dict(type='SGD', lr=0.1, m=0.9)\nhead = dict(loss=dict(type='A', w=1), k=17)",
        a="_base_ = 'b.py'\noptim = dict(_delete_=True, type='Adam')\nhead = dict(loss=dict(_delete_=True, type='B'))",
    )
    config = read_reference_config(path)
    assert config["optim"] == {"type": "Adam"}
    assert config["head"] == {"loss": {"type": "B"}, "k": 17}


def test_lists_are_replaced_not_merged(write: Write) -> None:
    path = write(b="a = [dict(x=1), dict(y=2)]\nt = (1, 2)", a="_base_ = 'b.py'\na = [dict(z=3)]\nt = 4")
    assert read_reference_config(path) == {"a": [{"z": 3}], "t": 4}


def test_a_dict_over_something_else_needs_delete(write: Write) -> None:
    path = write(b="head = dict(loss=[1])", a="_base_ = 'b.py'\n\nhead = dict(loss=dict(w=1))")
    with pytest.raises(
        ConfigError, match=r"a.py:3: 'loss' is a dict here but a list in the base config.*_delete_=True"
    ):
        read_reference_config(path)


def test_several_bases(write: Write) -> None:
    path = write(b="x = 1", c="y = 2", a="_base_ = ['b.py', './c.py']\nz = _base_.x + _base_.y")
    assert read_reference_config(path) == {"x": 1, "y": 2, "z": 3}


def test_bases_must_not_set_the_same_variable(write: Write) -> None:
    path = write(b="x = 1", c="x = 2", a="_base_ = ['b.py', 'c.py']")
    with pytest.raises(ConfigError, match=r"a.py:1: several files of `_base_` set 'x'"):
        read_reference_config(path)


def test_references_to_the_base(write: Write) -> None:
    path = write(
        b="model = dict(neck=dict(channels=[96, 192]), head=dict(k=17))\nsize = (192, 256)",
        a="""
_base_ = ['b.py']
braces = {{_base_.size}}
spaced = dict(size={{ _base_.model.neck.channels }})
direct = _base_.model.neck.channels[1] * 2
item = _base_.model['head']['k']
_base_.model.head.k = 5
""",
    )
    config = read_reference_config(path)
    assert config["braces"] == (192, 256)
    assert config["spaced"] == {"size": [96, 192]}
    assert (config["direct"], config["item"]) == (384, 17)
    assert config["model"]["head"] == {"k": 5}


def test_update_of_a_dict_of_the_base_merges_as_in_the_reference(write: Write) -> None:
    path = write(
        b="x = dict(a=1, b=dict(c=2, d=3))",
        a="_base_ = 'b.py'\ny = _base_.x\ny.update(dict(b=dict(d=4)))\nz = dict(a=1, b=dict(c=2))\nz.update(b=dict(d=4))",
    )
    config = read_reference_config(path)
    assert config["x"] == config["y"] == {"a": 1, "b": {"c": 2, "d": 4}}
    assert config["z"] == {"a": 1, "b": {"d": 4}}


def test_missing_bases_are_named(write: Write, tmp_path: Path) -> None:
    path = write(a="_base_ = ['../_base_/default_runtime.py']")
    with pytest.raises(
        ConfigError, match=r"no file for the base config .*_base_/default_runtime.py' of .*a.py:1"
    ) as caught:
        read_reference_config(path)
    assert "stands alone" in str(caught.value)


def test_bases_inside_of_packages(write: Write) -> None:
    with pytest.raises(
        ConfigError, match=r"a.py:2: the base 'mmdet::rtmdet/rtmdet_l.py'.*inside of an installed package"
    ):
        read_reference_config(write(a="\n_base_ = 'mmdet::rtmdet/rtmdet_l.py'"))


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py", "RTMDetSepBNHead"),
        ("mmdet::yolox/yolox_s_8xb8-300e_coco.py", "YOLOXHead"),
        ("mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py", "HeatmapHead"),
    ],
)
def test_bases_of_a_package_that_the_zoo_knows(write: Write, base: str, kind: str) -> None:
    config = read_reference_config(write(a=f"_base_ = {base!r}\nmodel = dict(x=1)"))
    head = config["model"].get("bbox_head") or config["model"]["head"]
    assert (head["type"], config["model"]["x"]) == (kind, 1)
    assert config["model"]["backbone"]["type"]


def test_keypoints_of_a_base_of_a_package_are_those_of_the_zoo(write: Write) -> None:
    path = write(a="_base_ = 'mmpose::a/td-hm_hrnet-w32_8xb64-210e_crowdpose-256x192.py'")
    source = source_from_config(path)
    assert source.schema == load_schema("crowdpose")


@pytest.mark.parametrize("base", ["_base_/schedules/schedule_1x.py", "rtmdet_tta.py", "_base_/default_runtime.py"])
def test_bases_of_a_package_that_say_how_to_train(write: Write, base: str) -> None:
    assert read_reference_config(write(a=f"_base_ = 'mmdet::{base}'\nx = 1"))["default_scope"] == "mmdet"


@pytest.mark.parametrize("line", ["from mmengine.config import read_base", "from mmengine import Config, read_base"])
def test_configs_of_lazy_imports_are_refused_by_name(write: Write, line: str) -> None:
    with pytest.raises(ConfigError, match=r"a.py:1: this is a config of lazy imports .*Config.fromfile"):
        read_reference_config(write(a=f"{line}\nwith read_base():\n    from .b import *"))


def test_the_default_runtime_of_a_package_is_known(write: Write) -> None:
    path = write(a="_base_ = ['mmpose::_base_/default_runtime.py']\nload = dict(args=_base_.backend_args)")
    config = read_reference_config(path)
    assert config["default_scope"] == "mmpose"
    assert config["load"] == {"args": {"backend": "local"}}


def test_a_file_of_data_may_say_what_mmdetections_runtime_does_not(write: Write) -> None:
    path = write(
        data="backend_args = None",
        a="_base_ = ['mmdet::_base_/default_runtime.py', 'data.py']\nload = dict(args=_base_.backend_args)",
    )
    assert read_reference_config(path)["load"] == {"args": None}


def test_circles_of_bases(write: Write) -> None:
    with pytest.raises(ConfigError, match="circle"):
        read_reference_config(write(b="_base_ = 'a.py'", a="_base_ = 'b.py'"))
    with pytest.raises(ConfigError, match="circle"):
        read_reference_config(write(c="_base_ = './x/../c.py'"))


def test_chains_of_bases_through_links(write: Write, tmp_path: Path) -> None:
    path = write(a="_base_ = 'more/a.py'")
    (tmp_path / "more").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="too many files"):
        read_reference_config(path)


def test_trees_of_bases_are_bounded(write: Write) -> None:
    names = [f"f{i}" for i in range(12)]
    for child, parent in itertools.pairwise(names):
        write(**{child: f"_base_ = ['{parent}.py'] * 10"})
    write(f11="")
    with pytest.raises(ConfigError, match=r"repeats too much|larger than any"):
        read_reference_config(write(f0="_base_ = ['f1.py'] * 10"))


@pytest.mark.parametrize(
    "base", ["'b.yaml'", "'/etc/passwd'", "'/dev/zero'", "'a\\0b.py'", f"'{'x' * 5000}.py'", "'.'", "''"]
)
def test_bases_that_are_no_configs(write: Write, base: str) -> None:
    with pytest.raises(ConfigError, match="base config"):
        read_reference_config(write(a=f"_base_ = {base}"))


@pytest.mark.parametrize("text", ["_base_ = 3", "_base_ = [3]", "_base_ = 'b.py'\n_base_ = 'c.py'", "_base_ = x"])
def test_base_has_to_be_paths(write: Write, text: str) -> None:
    with pytest.raises(ConfigError, match=r"a.py:\d"):
        read_reference_config(write(a=text))


# Variables that the reference puts in


def test_predefined_variables(write: Write, tmp_path: Path) -> None:
    text = "w = './work/{{fileBasenameNoExtension}}'\nf = '{{ fileDirname }}|{{fileBasename}}|{{fileExtname}}'"
    config = read_reference_config(write(my_model=text))
    assert config == {"w": "./work/my_model", "f": f"{tmp_path.as_posix()}|my_model.py|.py"}


def test_a_folder_whose_name_is_code_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "x'+open('marker','w').name+'"
    folder.mkdir()
    (folder / "a.py").write_text("w = '{{fileDirname}}'")
    assert read_reference_config(folder / "a.py") == {"w": folder.as_posix()}


def test_environment_variables_get_their_defaults(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_CLASSES", "99")
    text = "n = {{'$NUM_CLASSES:80'}}\nd = '{{$DATASET:/data/coco/}}train'\nm = {{$M:3}}"
    assert read_reference_config(write(a=text)) == {"n": 80, "d": "/data/coco/train", "m": 3}


def test_environment_variables_without_default(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"a.py:2: the environment variable 'HF_TOKEN' has no default"):
        read_reference_config(write(a="\nx = '{{$HF_TOKEN:}}'"))


def test_names_with_underscores_and_deprecation_are_left_out(write: Write) -> None:
    config = read_reference_config(write(a="__x = 1\n_y = 2\n_deprecation_ = dict(expected='b')"))
    assert config == {"_y": 2}


# Files that are no configs


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"x = (1,\n", r"a.py:1: this is not valid Python"),
        (b"\n\nx = = 2", r"a.py:3: this is not valid Python"),
        (b"x = '\xff'", "Cannot read the config"),
        (b"x = 1\0", "not valid Python"),
        (b"<html></html>", "a.py:1"),
        (b"x = " + b"(" * 5000, "not valid Python"),
        (b"x = " + b"-" * 200_000 + b"1", r"not valid Python|nests too deep"),
        (b"x = " + b"+".join([b"1"] * 50_000), r"not valid Python|nests too deep"),
        (b"x = a" + b".b" * 50_000, r"not valid Python|nests too deep"),
        (b"x = " + b"9" * 5000, r"a.py:1"),
        (b"#" * 2**20 + b"#", "more than"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_files_that_are_no_configs(tmp_path: Path, content: bytes, hint: str) -> None:
    (tmp_path / "a.py").write_bytes(content)
    with pytest.raises(ConfigError, match=hint):
        read_reference_config(tmp_path / "a.py")


def test_missing_files_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file for the config .*none.py"):
        read_reference_config(tmp_path / "none.py")
    with pytest.raises(ConfigError, match="Expected a Python file"):
        read_reference_config(tmp_path)
    with pytest.raises(ConfigError, match=r"Expected a Python file .*a.yaml"):
        read_reference_config(tmp_path / "a.yaml")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(ConfigError, match="no file"):
        read_reference_config(tmp_path / "pipe.py")


def test_a_byte_order_mark_and_odd_escapes_pass(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfx = '\\d'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_reference_config(tmp_path / "a.py") == {"x": "\\d"}


# Files that attack


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.system('touch {marker}')",
        "import antigravity",
        "from pathlib import Path\nPath('{marker}').touch()",
        "from mmengine.config import read_base",
        "x = eval(\"open('{marker}', 'w')\")",
        "exec(\"open('{marker}', 'w')\")",
        "open('{marker}', 'w').close()",
        "x = open('{marker}', 'w')",
        "__import__('os').system('touch {marker}')",
        "x = dict(a=__import__('os').system('touch {marker}'))",
        "x = [open('{marker}', 'w') for _ in range(1)]",
        "x = f\"{{open('{marker}', 'w')}}\"",
        "x = ().__class__.__bases__[0].__subclasses__()",
        "x = ''.__class__",
        "x = dict.__subclasses__()",
        "x = '{{0.__class__}}'.format(1)",
        "x = '{{0[0]}}'.format([1])",
        "x = '{{a.b}}'.format(a=dict(b=1))",
        "x = (lambda: open('{marker}', 'w'))()",
        "def f():\n    open('{marker}', 'w')\nf()",
        "class A:\n    open('{marker}', 'w')",
        "with open('{marker}', 'w') as f:\n    pass",
        "try:\n    open('{marker}', 'w')\nexcept Exception:\n    pass",
        "while True:\n    open('{marker}', 'w')",
        "x = getattr(dict, 'fromkeys')",
        "x = print",
        "x = dict",
        "x = __builtins__",
        "x = __file__",
        "x = globals()",
        "x = type('A', (), {{}})",
        "x = super()",
        "dict = open\nx = dict('{marker}', 'w')",
        "x = (y := open('{marker}', 'w'))",
        "@open('{marker}', 'w')\nclass A: pass",
        "x: open('{marker}', 'w')",
        "for x in open('{marker}', 'w'): pass",
        "assert open('{marker}', 'w')",
        "x = [].append.__self__",
        "x = [1].sort(key=open)",
        "x = sorted(['{marker}'], key=open)",
        "x = sum([[1]], [])",
        "x = min(['{marker}'], key=open)",
        "x = {{1, 2}}",
        "x = 1j",
        "x = ...",
        "x = b'bytes'",
        "x = 'a %s' % 'b'",
        "raise SystemExit",
        "global x",
        "async def f(): pass",
        "match 1:\n    case _: pass",
        "del x",
        "x = yield",
    ],
)
def test_code_is_refused_by_file_and_line_and_nothing_happens(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    marker = tmp_path / "marker"
    opened: list[Any] = []
    monkeypatch.setattr(os, "system", opened.append)
    path = write(a="ok = 1\n\n" + code.format(marker=marker))
    with pytest.raises(ConfigError, match=r"a\.py:[345]: "):
        read_reference_config(path)
    assert not marker.exists()
    assert not opened


def test_code_in_a_base_is_refused(write: Write, tmp_path: Path) -> None:
    path = write(b=f"\nopen({str(tmp_path / 'marker')!r}, 'w')", a="_base_ = 'b.py'")
    with pytest.raises(ConfigError, match=r"b.py:2: the call of 'open' is refused, because it would run code"):
        read_reference_config(path)
    assert not (tmp_path / "marker").exists()


def test_refusals_say_what_to_do(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"an import is refused.*Configs are parsed, never run.*dump\('flat.py'\)"):
        read_reference_config(write(a="import os"))


@pytest.mark.parametrize(
    "code",
    [
        "x = 10 ** 10 ** 10",
        "x = 2 ** 64",
        "x = 1 << 1000000",
        "x = 9999999999999999999",
        "x = 7\nfor i in range(100):\n    x = x * x",
        "x = 'a' * 10 ** 9",
        "x = [0] * 10 ** 9",
        "x = 10 ** 9 * (0,)",
        "x = list(range(10 ** 12))",
        "x = range(10 ** 12)",
        "x = [i for i in range(10 ** 12)]",
        "x = [0 for i in range(2000) for j in range(2000)]",
        "for i in range(10 ** 12):\n    x = i",
        "x = [0]\nfor i in range(60):\n    x = x + x",
        "x = 'ab'\nfor i in range(60):\n    x = x + x",
        "x = 'ab'\nfor i in range(60):\n    x = f'{x}{x}'",
        "x = 'ab'\nfor i in range(60):\n    x = x.replace('a', x)",
        "x = 'ab'\nfor i in range(60):\n    x = x.join([x, x, x])",
        "x = 'ab'\nfor i in range(60):\n    x = '{0}{0}'.format(x)",
        "x = [0]\nfor i in range(60):\n    x.extend(x)",
        "x = [0]\nfor i in range(60):\n    x += x",
        "x = [0]\nfor i in range(60):\n    x = [x, x]",
        "x = [0]\nfor i in range(60):\n    x = dict(a=x, b=x)",
        "x = [0]\ny = [0]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nz = x == y",
        "x = [0]\ny = [0]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nz = [x].count(y)",
        "x = []\nx.append(x)",
        "x = dict()\nx['x'] = x",
        "x = ()\nfor i in range(100000):\n    x = (x,)",
        "x = f'{1:1000000000}'",
        "x = f'{1:>{10**9}}'",
        "x = '{:999999999}'.format(1)",
        "x = round(1.5, -10**9) * 'a' * 10**9",
        "x = 10.0 ** 400",
        "x = 1 / 0",
        "x = (-8) ** 0.5",
        "x = int('9' * 5000)",
        "x = {(1, 2): 3}",
        "x = {i * (2 ** 61 - 1): 0 for i in range(100)}",
        "x = str([[1]])",
        "x = sum([10.5, [1]])",
        "x = '{'.format()",
        "x = '{0}'.format()",
        "x = '{b}'.format(a=1)",
        "x = dict(1)",
        "x = dict([1])",
        "x = dict(a=1, **dict(a=2))",
        "x = [1][5]",
        "x = dict(a=1)['b']",
        "x = dict(a=1).b",
        "x = -'a'",
        "x = 1 @ 2",
        "a, b = 1",
        "a, *b = [1, 2]",
        "x = [1]\nx['a'] = 2",
        "x = 'ab'\nx[0] = 'c'",
        "x[0] = 1",
        "x = y",
        "x = len(5)",
        "x = range(1, 2, 0)",
        "x = [*5]",
        "for x in 5: pass",
        "x = [1, 2][::0]",
        "x = [1].index(2)",
        "x = [].pop()",
        "for i in [1]:\n    _base_ = 'b.py'",
    ],
)
def test_bombs_and_mistakes_are_refused_by_line(write: Write, code: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.py(:\d+)?: "):
        read_reference_config(write(a=code))


def test_bombs_inside_of_base_merges(write: Write) -> None:
    laughs = "x = dict()\nfor i in range(60):\n    x = dict(a=x, b=x)\n"
    for text in (laughs + "_base_.x.update(x)", laughs + "_base_.x = x\nx = dict(x)", "_base_.x.a = _base_\n"):
        with pytest.raises(ConfigError, match=r"larger than|itself"):
            read_reference_config(write(b="x = dict(a=dict(), b=dict())", a="_base_ = 'b.py'\n" + text))


def test_a_deep_tuple_is_no_key(write: Write) -> None:
    """Hashing one recurses on the machine's stack."""
    with pytest.raises(ConfigError, match="key of a dict"):
        read_reference_config(write(a="t = ()\nfor i in range(50000):\n    t = (t,)\nx = t in {}"))
