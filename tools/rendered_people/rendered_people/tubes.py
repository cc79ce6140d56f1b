"""The shapes that skins are made of: tables of rings along chains of bones, and which bones bend them.

Lengths are meters for an adult of 1.74 m; positions along a chain count its joints (0.5 is half way from the first to
the second). Frames are those of `anatomy`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rendered_people.anatomy import SIDES

HEAD_SQUARENESS = 2.15

# Columns: position along the chain, half width, half depth (m), shift to the back (m), how much weight widens it,
# how much femininity widens it, how much femininity deepens it.
_TORSO = (
    (-0.215, 0.030, 0.030, 0.010, 0.2, 0.00, 0.00),
    (-0.18, 0.100, 0.080, 0.012, 0.3, 0.05, 0.03),
    (-0.11, 0.155, 0.108, 0.014, 0.4, 0.09, 0.06),
    (0.00, 0.170, 0.118, 0.014, 0.5, 0.07, 0.05),
    (0.12, 0.163, 0.111, 0.006, 0.7, 0.00, 0.00),
    (0.25, 0.150, 0.104, -0.002, 1.0, -0.09, -0.06),
    (0.40, 0.142, 0.100, -0.003, 1.0, -0.14, -0.11),
    (0.55, 0.147, 0.104, 0.002, 0.8, -0.11, -0.10),
    (0.70, 0.159, 0.113, 0.010, 0.6, -0.07, -0.06),
    (0.80, 0.169, 0.113, 0.014, 0.4, -0.06, -0.07),
    (0.88, 0.173, 0.104, 0.018, 0.35, -0.06, -0.07),
    (0.94, 0.168, 0.090, 0.021, 0.3, -0.07, -0.08),
    (0.98, 0.150, 0.078, 0.023, 0.3, -0.08, -0.10),
    (1.06, 0.116, 0.068, 0.023, 0.3, -0.09, -0.10),
    (1.22, 0.081, 0.061, 0.020, 0.3, -0.12, -0.10),
    (1.36, 0.066, 0.059, 0.016, 0.3, -0.13, -0.11),
    (1.50, 0.0590, 0.0585, 0.013, 0.35, -0.14, -0.12),
    (1.75, 0.0550, 0.0570, 0.006, 0.35, -0.15, -0.13),
    (2.10, 0.0530, 0.0570, 0.003, 0.3, -0.15, -0.13),
)
_ARM = (
    (-0.150, 0.0005, 0.0005, -0.002, 0.2, 0.0, 0.0),
    (-0.135, 0.022, 0.026, -0.002, 0.3, -0.1, -0.1),
    (-0.095, 0.041, 0.046, -0.001, 0.3, -0.12, -0.12),
    (-0.030, 0.0525, 0.0575, 0.000, 0.35, -0.14, -0.14),
    (0.05, 0.0550, 0.0600, 0.000, 0.35, -0.15, -0.15),
    (0.17, 0.0535, 0.0585, 0.000, 0.4, -0.16, -0.16),
    (0.32, 0.049, 0.053, -0.002, 0.45, -0.16, -0.16),
    (0.50, 0.0455, 0.0495, -0.004, 0.45, -0.16, -0.16),
    (0.70, 0.0425, 0.0445, -0.002, 0.4, -0.14, -0.14),
    (0.88, 0.0395, 0.0395, 0.001, 0.3, -0.12, -0.12),
    (1.00, 0.0395, 0.0385, 0.002, 0.25, -0.12, -0.12),
    (1.12, 0.0425, 0.0410, -0.001, 0.3, -0.14, -0.14),
    (1.28, 0.0420, 0.0405, -0.003, 0.3, -0.14, -0.14),
    (1.50, 0.0365, 0.0365, -0.003, 0.25, -0.14, -0.14),
    (1.75, 0.0285, 0.0310, -0.002, 0.2, -0.12, -0.12),
    (1.93, 0.0235, 0.0290, -0.002, 0.15, -0.12, -0.12),
    (2.02, 0.0225, 0.0290, -0.002, 0.1, -0.12, -0.12),
)
_LEG = (
    (-0.13, 0.040, 0.050, 0.012, 0.3, 0.0, 0.0),
    (-0.06, 0.074, 0.088, 0.012, 0.4, 0.05, 0.05),
    (0.02, 0.087, 0.098, 0.012, 0.5, 0.06, 0.05),
    (0.12, 0.0895, 0.097, 0.008, 0.55, 0.06, 0.04),
    (0.25, 0.085, 0.092, 0.004, 0.5, 0.04, 0.02),
    (0.45, 0.0755, 0.081, 0.000, 0.45, 0.0, 0.0),
    (0.65, 0.0655, 0.070, -0.002, 0.4, -0.04, -0.04),
    (0.85, 0.0565, 0.0605, -0.004, 0.3, -0.05, -0.05),
    (1.00, 0.0535, 0.0580, -0.006, 0.2, -0.06, -0.06),
    (1.10, 0.0510, 0.0550, 0.004, 0.25, -0.06, -0.06),
    (1.24, 0.0550, 0.0590, 0.014, 0.3, -0.05, -0.05),
    (1.38, 0.0530, 0.0560, 0.015, 0.3, -0.06, -0.06),
    (1.55, 0.0440, 0.0460, 0.011, 0.25, -0.08, -0.08),
    (1.75, 0.0350, 0.0370, 0.008, 0.2, -0.1, -0.1),
    (1.90, 0.0315, 0.0365, 0.006, 0.15, -0.1, -0.1),
    (2.02, 0.0330, 0.0410, 0.004, 0.1, -0.1, -0.1),
    (2.08, 0.0200, 0.0250, 0.004, 0.1, -0.1, -0.1),
)
# Height over the head's joint.
HEAD = (
    (-0.0800, 0.008, 0.008, -0.070, 0.1, 0.0, 0.0),
    (-0.0760, 0.024, 0.025, -0.066, 0.2, -0.10, 0.0),
    (-0.0660, 0.0395, 0.046, -0.050, 0.25, -0.10, -0.02),
    (-0.0460, 0.0540, 0.070, -0.030, 0.25, -0.09, -0.02),
    (-0.0190, 0.0635, 0.086, -0.018, 0.2, -0.06, -0.02),
    (0.0110, 0.0705, 0.0945, -0.012, 0.1, -0.02, -0.02),
    (0.0410, 0.0745, 0.0990, -0.008, 0.05, -0.02, -0.02),
    (0.0770, 0.0770, 0.1015, -0.003, 0.0, -0.02, -0.02),
    (0.1090, 0.0725, 0.0950, 0.002, 0.0, -0.02, -0.02),
    (0.1330, 0.0560, 0.0750, 0.005, 0.0, -0.02, -0.02),
    (0.1490, 0.0320, 0.0430, 0.006, 0.0, 0.0, 0.0),
    (0.1550, 0.0003, 0.0004, 0.006, 0.0, 0.0, 0.0),
)
# Distance before the ankle; half width, half height, height over the ankle.
_FOOT = (
    (-0.066, 0.010, 0.014, -0.044, 0.0, -0.1, -0.05),
    (-0.056, 0.029, 0.032, -0.040, 0.0, -0.1, -0.05),
    (-0.020, 0.0350, 0.0490, -0.024, 0.0, -0.1, -0.05),
    (0.030, 0.0375, 0.0440, -0.029, 0.0, -0.1, -0.05),
    (0.080, 0.0430, 0.0315, -0.0415, 0.0, -0.1, -0.05),
    (0.130, 0.0480, 0.0250, -0.048, 0.0, -0.1, -0.05),
    (0.172, 0.0410, 0.0190, -0.054, 0.0, -0.1, -0.05),
    (0.192, 0.0240, 0.0130, -0.060, 0.0, -0.1, -0.05),
    (0.199, 0.0060, 0.0050, -0.064, 0.0, -0.1, -0.05),
)
_HAND = (
    (-0.05, 0.0215, 0.0280, 0.000, 0.1, -0.1, -0.12),
    (0.25, 0.0190, 0.0340, -0.001, 0.1, -0.1, -0.12),
    (0.60, 0.0165, 0.0400, -0.001, 0.1, -0.1, -0.12),
    (1.00, 0.0135, 0.0410, 0.000, 0.1, -0.1, -0.12),
    (1.06, 0.0060, 0.0360, 0.000, 0.1, -0.1, -0.12),
)
# Along a finger; its width and thickness are the same.
_FINGER = (
    (-0.10, 0.0088, 0.0088, 0.0, 0.1, -0.12, -0.12),
    (0.40, 0.0082, 0.0082, 0.0, 0.1, -0.12, -0.12),
    (0.85, 0.0070, 0.0070, 0.0, 0.1, -0.12, -0.12),
    (1.00, 0.0030, 0.0030, 0.0, 0.1, -0.12, -0.12),
)
_MITTEN = (
    (-0.05, 0.0135, 0.0405, 0.000, 0.1, -0.1, -0.12),
    (0.45, 0.0110, 0.0375, 0.002, 0.1, -0.1, -0.12),
    (0.80, 0.0090, 0.0290, 0.003, 0.1, -0.1, -0.12),
    (1.00, 0.0040, 0.0120, 0.004, 0.1, -0.1, -0.12),
)
_THUMB = (
    (-0.10, 0.0100, 0.0100, 0.0, 0.1, -0.12, -0.12),
    (0.20, 0.0125, 0.0125, 0.0, 0.1, -0.12, -0.12),
    (0.60, 0.0100, 0.0100, 0.0, 0.1, -0.12, -0.12),
    (0.90, 0.0080, 0.0080, 0.0, 0.1, -0.12, -0.12),
    (1.00, 0.0030, 0.0030, 0.0, 0.1, -0.12, -0.12),
)
_FINGERS = ((-0.030, 0.072), (-0.010, 0.082), (0.010, 0.077), (0.029, 0.060))
# Parts that hang from 0 at their top to 1; half width and half depth of the first and last come from clothes.
_SKIRT = tuple((c, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for c in (0.0, 0.25, 0.5, 0.75, 1.0))
_CURTAIN = (
    (0.00, 0.0880, 0.1100, 0.000, 0.0, 0.0, 0.0),
    (0.20, 0.0990, 0.1150, 0.002, 0.0, 0.0, 0.0),
    (0.50, 0.1010, 0.1060, 0.014, 0.0, 0.0, 0.0),
    (0.80, 0.1000, 0.0900, 0.034, 0.0, 0.0, 0.0),
    (1.00, 0.0850, 0.0800, 0.044, 0.0, 0.0, 0.0),
)
_TAIL = (
    (0.00, 0.014, 0.014, 0.000, 0.0, 0.0, 0.0),
    (0.15, 0.026, 0.026, 0.030, 0.0, 0.0, 0.0),
    (0.50, 0.030, 0.026, 0.042, 0.0, 0.0, 0.0),
    (0.85, 0.022, 0.018, 0.036, 0.0, 0.0, 0.0),
    (1.00, 0.004, 0.004, 0.030, 0.0, 0.0, 0.0),
)
_BALL = tuple(
    (0.5 - 0.5 * np.cos(a), 0.045 * np.sin(a) + 0.001, 0.045 * np.sin(a) + 0.001, 0.0, 0.0, 0.0, 0.0)
    for a in np.linspace(0, np.pi, 7)
)
_BRIM = tuple((c, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for c in (0.0, 1.0))


@dataclass(frozen=True)
class Tube:
    """One part of the mesh: rings around a chain of joints, or around a line from one joint.

    Args:
        part: name of the part.
        table: rows as described above.
        anchors: joints of the chain; or one joint that the line starts from.
        bones: (bone, position along the chain where it takes over, half width of the passage).
        rings, sides: how many, at detail 1.
        axis: direction of the line from a single anchor (positions count meters along it, or `length`s), or roughly
            of the chain.
        depth: direction that "depth" and "back" of the table mean.
        offset: start of the line relative to its joint (m).
        length: what positions are multiplied by.
        arc: part of the circle in degrees that is covered, counted from the left over the back. Default: closed.
        squareness: exponent of the superellipse that rings are; 2 is an ellipse.
        grows_with_head: sizes follow the head rather than the stature.
    """

    part: str
    table: tuple[tuple[float, ...], ...]
    anchors: tuple[str, ...]
    bones: tuple[tuple[str, float, float], ...]
    rings: int
    sides: int
    axis: tuple[float, float, float] = (0, 0, -1)
    depth: tuple[float, float, float] = (0, 1, 0)
    offset: tuple[float, float, float] = (0, 0, 0)
    length: float = 1.0
    arc: tuple[float, float] | None = None
    squareness: float = 2.0
    grows_with_head: bool = False


def tubes_of(detail: int) -> list[Tube]:
    """The parts of the mesh of a detail level."""
    head = (("head", -9.0, 0.1),)
    tubes = [
        Tube(
            "torso",
            _TORSO,
            ("pelvis", "neck", "head"),
            (
                ("pelvis", -9.0, 0.1),
                ("lumbar", 0.08, 0.14),
                ("chest", 0.5, 0.16),
                ("neck", 1.3, 0.3),
                ("head", 2.1, 0.3),
            ),
            18,
            18,
            axis=(0, 0, 1),
            squareness=2.25,
        ),
        Tube("head", HEAD, ("head",), head, 14, 18, axis=(0, 0, 1), grows_with_head=True, squareness=HEAD_SQUARENESS),
        Tube(
            "skirt",
            _SKIRT,
            ("pelvis",),
            (("lumbar", -9.0, 0.1), ("pelvis", 0.1, 0.15), ("thighs", 0.36, 0.3)),
            8,
            18,
            offset=(0, 0.006, 0.1),
        ),
        Tube(
            "hair_curtain",
            _CURTAIN,
            ("head",),
            (*head, ("chest", 0.8, 0.45)),
            8,
            14,
            arc=(-28, 208),
            offset=(0, 0.002, 0.06),
            grows_with_head=True,
        ),
        Tube(
            "hair_tail",
            _TAIL,
            ("head",),
            (*head, ("chest", 1.1, 0.6)),
            8,
            8,
            offset=(0, 0.085, 0.1),
            grows_with_head=True,
        ),
        Tube("hair_bun", _BALL, ("head",), head, 7, 10, offset=(0, 0.085, 0.15), length=0.09, grows_with_head=True),
        Tube(
            "hat_brim", _BRIM, ("head",), head, 3, 20, axis=(0, 0, 1), offset=(0, -0.002, 0.092), grows_with_head=True
        ),
    ]
    for side in SIDES:
        hand, fingers = f"{side}_hand", f"{side}_fingers"
        tubes += [
            Tube(
                f"{side}_arm",
                _ARM,
                (f"{side}_upper_arm", f"{side}_forearm", hand),
                ((f"{side}_upper_arm", -9.0, 0.1), (f"{side}_forearm", 1.0, 0.13), (hand, 2.0, 0.08)),
                16,
                10,
            ),
            Tube(
                f"{side}_leg",
                _LEG,
                (f"{side}_thigh", f"{side}_shank", f"{side}_foot"),
                ((f"{side}_thigh", -9.0, 0.1), (f"{side}_shank", 1.0, 0.13), (f"{side}_foot", 2.06, 0.1)),
                16,
                10,
            ),
            Tube(
                f"{side}_foot",
                _FOOT,
                (f"{side}_foot",),
                ((f"{side}_foot", -9.0, 0.1), (f"{side}_toes", 0.128, 0.03)),
                9,
                8,
                axis=(0, -1, 0),
                depth=(0, 0, 1),
                squareness=2.4,
            ),
            Tube(
                f"{side}_hand",
                _HAND,
                (hand, fingers),
                ((hand, -9.0, 0.1),),
                5,
                8,
                squareness=2.4,
            ),
            Tube(
                f"{side}_thumb",
                _THUMB,
                (hand,),
                ((hand, -9.0, 0.1),),
                4,
                5,
                axis=(-0.2, -0.42, -0.88),
                offset=(-0.004, -0.026, -0.022),
                length=0.078,
            ),
        ]
        bent = ((hand, -9.0, 0.1), (fingers, 0.1, 0.3))
        if detail == 1:
            tubes.append(Tube(f"{side}_fingers", _MITTEN, (fingers,), bent, 5, 7, length=0.08, squareness=2.4))
        else:
            tubes += [
                Tube(f"{side}_fingers", _FINGER, (fingers,), bent, 5, 5, length=length, offset=(0, y, 0))
                for y, length in _FINGERS
            ]
    return tubes
