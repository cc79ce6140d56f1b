"""Which classes of a detector are kept."""

from __future__ import annotations

import numpy as np
import pytest

import hfpose
from hfpose.errors import InputError
from hfpose.pipelines.detection_stage import label_ids

CONFIG = hfpose.RTMDetConfig(id2label={0: "person", 1: "Sports Ball", 2: "dog", 3: "dog"})


@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        ([0], [0]),
        ([np.int64(2), 3], [2, 3]),
        (["PERSON", "sports ball"], [0, 1]),
        (["dog"], [2, 3]),  # both classes of that name
        (["person", 1], [0, 1]),
        ([], []),
        ("person", [0]),  # one, without a list around it
        (1, [1]),
    ],
)
def test_ids_of_classes_by_id_and_name(labels, ids):
    assert label_ids(CONFIG, labels) == ids


@pytest.mark.parametrize("label", [4, -1, "zebra", "0"])
def test_unknown_class_is_refused_and_the_known_are_told(label):
    message = rf"no class {label!r}\. It tells apart: 0 person, 1 Sports Ball, 2 dog, 3 dog\."
    with pytest.raises(InputError, match=message):
        label_ids(CONFIG, ["person", label])


def test_near_name_is_suggested():
    with pytest.raises(InputError, match="Did you mean 'person'"):
        label_ids(CONFIG, ["persons"])


def test_of_many_classes_some_are_told():
    config = hfpose.RTMDetConfig(num_labels=80)
    with pytest.raises(InputError, match=r"19 LABEL_19 and 60 more\.$"):
        label_ids(config, [80])
