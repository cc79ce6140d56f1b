"""What the names of keypoints tell: which are the same in another spelling, and which are flip pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Words for the two sides, in some of the languages that data sets are named in, and what stands for them in short.
_SIDES = (
    ("left", "right"), ("links", "rechts"), ("linke", "rechte"), ("linker", "rechter"), ("linkes", "rechtes"),
    ("gauche", "droite"), ("gauche", "droit"), ("izquierda", "derecha"), ("izquierdo", "derecho"), ("izq", "der"),
    ("sinistra", "destra"), ("sinistro", "destro"), ("esquerda", "direita"), ("esquerdo", "direito"),
    ("lewa", "prawa"), ("lewy", "prawy"), ("lewe", "prawe"),
    ("левый", "правый"), ("левая", "правая"), ("левое", "правое"),
    ("vänster", "höger"), ("venstre", "højre"), ("venstre", "høyre"), ("sx", "dx"), ("lft", "rgt"),
    ("lt", "rt"), ("lf", "rf"), ("lh", "rh"), ("lb", "rb"), ("tl", "tr"), ("ul", "ur"), ("ll", "lr"),
    ("fl", "fr"), ("hl", "hr"), ("bl", "br"), ("rl", "rr"), ("lr", "rr"),
)  # fmt: skip
# Words of these that mean nothing else: a name with one of them has a mirror image, found or not.
_PLAIN_SIDES = {word for pair in _SIDES for word in pair if len(word) > 3}
_SIDE_PARTS = (("左", "右"), ("왼", "오른"))  # of words that are not set apart


def plain_name(name: str) -> str:
    """ "L_Eye", "left eye", "leftEye", "LEye" and "Left-Eye" are all "left_eye"."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    words = [word for word in re.split(r"[\W_]+", parted) if word]
    return "_".join({"l": "left", "r": "right"}.get(word, word) for word in words)


def flip_indices_from_names(keypoint_names: Sequence[str]) -> tuple[int, ...] | None:
    """For each keypoint the index of its mirror image, its own where it has none; None where no name has a mirror
    image, or a name says a side and its mirror image is not found: half of the pairs would exchange half of a body.

    A mirror image is a keypoint whose name differs in the side alone: "left_ear" and "right_ear", "earL" and "earR",
    "lf_paw" and "rf_paw", "griff_links" and "griff_rechts".
    """
    index = {plain_name(name): i for i, name in enumerate(keypoint_names)}
    mirrors = [
        next((index[other] for other in _mirror_names(plain_name(name)) if other in index), i)
        for i, name in enumerate(keypoint_names)
    ]
    mutual = tuple(mirror if mirrors[mirror] == i else i for i, mirror in enumerate(mirrors))
    alone = [name for i, name in enumerate(keypoint_names) if mutual[i] == i]
    is_told = len(alone) < len(mutual) and not any(_PLAIN_SIDES.intersection(plain_name(n).split("_")) for n in alone)
    return mutual if is_told else None


def _mirror_names(plain: str) -> Iterator[str]:
    """Names that the mirror image of a keypoint could have, likely ones first."""
    words = plain.split("_")
    for pair in _SIDES:
        for here, there in (pair, pair[::-1]):
            if here in words:
                swap = {here: there, there: here}
                yield "_".join(swap.get(word, word) for word in words)
                yield from (
                    "_".join([*words[:i], there, *words[i + 1 :]]) for i, word in enumerate(words) if word == here
                )
    for pair in _SIDE_PARTS:
        for here, there in (pair, pair[::-1]):
            if here in plain:
                yield plain.replace(here, there)
    for here, there in (("left", "right"), ("right", "left"), ("l", "r"), ("r", "l")):
        for i, word in enumerate(words):  # "leftgrip", "gripleft", "lgrip", "gripl"
            if len(word) > len(here) and word.startswith(here):
                yield "_".join([*words[:i], there + word.removeprefix(here), *words[i + 1 :]])
            if len(word) > len(here) and word.endswith(here):
                yield "_".join([*words[:i], word.removesuffix(here) + there, *words[i + 1 :]])
