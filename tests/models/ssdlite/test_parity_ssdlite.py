"""SSDLite computes what the reference computes."""

from __future__ import annotations

from golden import Golden, unmatched_boxes

NAME = "ssdlite_mobilenetv2_scratch_600e_onehand"


def test_raw_outputs_equal_the_reference():
    assert Golden("detect", NAME).head_error() < 1e-4


def test_boxes_equal_the_reference(shared):
    golden = Golden("detect", NAME)
    found, _ = golden.found_boxes(shared)
    assert len(found["boxes"]) == len(golden.arrays["e2e/boxes"])
    assert unmatched_boxes(found, golden.arrays) == 0
