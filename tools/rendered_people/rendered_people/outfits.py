"""What figures look like, chosen at random: skin, hair, clothes, hats and shoes."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from rendered_people.anatomy import Body

Color = tuple[float, float, float]

# RGB of skin from light to dark.
_SKINS = (
    (244, 211, 188), (236, 196, 168), (224, 178, 146), (210, 160, 124), (190, 136, 100), (165, 112, 80),
    (134, 88, 62), (104, 66, 46), (78, 50, 36),
)  # fmt: skip
_HAIRS = (
    (28, 22, 20), (44, 30, 24), (66, 44, 30), (92, 62, 38), (126, 84, 48), (176, 132, 74), (214, 178, 116),
    (142, 62, 32), (150, 148, 146), (214, 212, 208), (60, 40, 90),
)  # fmt: skip
_HAIR_WEIGHTS = (22, 18, 15, 12, 9, 7, 5, 4, 4, 3, 1)
# What cloth is often dyed in; the rest is drawn at random.
_CLOTHS = (
    (238, 238, 234), (34, 36, 42), (52, 66, 98), (96, 104, 114), (160, 162, 164), (112, 134, 166), (182, 44, 44),
    (48, 92, 62), (202, 178, 142), (98, 74, 54), (222, 186, 60), (40, 60, 128),
)  # fmt: skip
_EYES = ((62, 40, 26), (84, 58, 34), (70, 96, 122), (72, 92, 66), (96, 104, 108))


class Pattern(NamedTuple):
    """Cloth: a second color laid over the first as `kind` says, repeating every `size` meters."""

    kind: str
    first: Color
    second: Color
    size: float


_PATTERNS = ("plain", "stripes", "pinstripes", "checks", "spots", "block", "fade")
_PATTERN_WEIGHTS = (48, 14, 8, 10, 7, 7, 6)


@dataclass(frozen=True)
class Outfit:
    """One person's looks. Positions are those along the parts of the mesh (see `surface`); colors RGB 0 to 255.

    Args:
        skin, lips, eyes: colors.
        hair, hair_style: color, and one of `HAIR_STYLES`.
        hair_volume, hair_length: meters the hair stands out and hangs down from the ears.
        beard: 0 to 1, how dense.
        top: cloth of the shirt; `sleeve` where its sleeves end (arm), `neckline` and `hem` where it ends (torso).
        tail: meters that it or the jacket hangs down over the waist, 0 if tucked in.
        jacket: cloth of an open jacket over the shirt, or None.
        bottom: cloth of trousers or skirt; `trouser` where its legs end (leg), `waist` where it begins (torso).
        skirt: length in fractions of the hips' height, or 0 for none; `flare` how much wider it gets (m); a skirt
            from `top`'s cloth is a dress or a long coat.
        dress: the skirt is of the top's cloth.
        ease_top, ease_bottom, trouser_flare: meters that clothes stand off the body, and that legs widen to the hem.
        shoes, soles: colors; shoes of the skin's color are bare feet. `boot` where they end (leg).
        socks: cloth color, or None.
        hat, hat_style: cloth color, and one of `HAT_STYLES`.
        belt: color or None.
        print_color: color of a print on the chest, or None.
        straps: color of a backpack's straps, or None.
        glasses: "none", "clear" or "dark".
        smile: -1 to 1.
    """

    skin: Color
    lips: Color
    eyes: Color
    hair: Color
    hair_style: str
    hair_volume: float
    hair_length: float
    beard: float
    top: Pattern
    sleeve: float
    neckline: float
    hem: float
    tail: float
    jacket: Pattern | None
    bottom: Pattern
    trouser: float
    waist: float
    skirt: float
    flare: float
    dress: bool
    ease_top: float
    ease_bottom: float
    trouser_flare: float
    shoes: Color
    soles: Color
    boot: float
    socks: Color | None
    hat: Color
    hat_style: str
    belt: Color | None
    print_color: Color | None
    straps: Color | None
    glasses: str
    smile: float

    @classmethod
    def random(cls, rng: np.random.Generator, body: Body) -> Outfit:
        """An outfit that a body may wear."""
        womanly = rng.random() < 0.12 + 0.76 * body.femininity + 0.3 * body.childhood * (rng.random() < 0.5)
        skin = _mix(_SKINS, rng.uniform(0, len(_SKINS) - 1.001))
        hair_style = _choose(rng, HAIR_STYLES, _WOMENS_HAIR if womanly else _MENS_HAIR)
        top, bottom = random_cloth(rng), random_cloth(rng, plain=0.8)
        skirt = float(rng.uniform(0.34, 0.95)) if womanly and rng.random() < 0.4 else 0.0
        dress = skirt > 0 and rng.random() < 0.5
        shorts = rng.random() < 0.25
        waist = float(rng.uniform(0.1, 0.3))
        tucked = rng.random() < 0.35 or skirt > 0
        bare = rng.random() < 0.06
        sleeve = _choose(rng, (-1.0, 0.12, 0.42, 0.62, 1.45, 1.93), (8, 5, 38, 8, 8, 33))
        hat_style = _choose(rng, HAT_STYLES, (78, 9, 6, 5, 2))
        return cls(
            skin=skin,
            lips=_blend(skin, (176, 72, 76), rng.uniform(0.25, 0.75 if womanly else 0.45)),
            eyes=_EYES[rng.integers(len(_EYES))],
            hair=_shade(_choose(rng, _HAIRS, _HAIR_WEIGHTS), rng.uniform(0.8, 1.2)),
            hair_style=hair_style,
            hair_volume=float(rng.uniform(0.03, 0.06) if hair_style == "curly" else rng.uniform(0.008, 0.022)),
            hair_length=float(rng.uniform(0.13, 0.36)),
            beard=float(rng.uniform(0.3, 0.95))
            if not womanly and body.childhood == 0 and rng.random() < 0.35
            else 0.0,
            top=top,
            sleeve=sleeve,
            neckline=float(rng.uniform(0.86, 1.1) if womanly and rng.random() < 0.5 else rng.uniform(1.1, 1.55)),
            hem=waist + (float(rng.uniform(0.08, 0.3)) if womanly and not dress and rng.random() < 0.12 else -0.03),
            tail=0.0 if tucked else float(rng.uniform(0.13, 0.28)),
            jacket=random_cloth(rng, plain=0.85) if sleeve > 1 and rng.random() < 0.4 else None,
            bottom=bottom,
            trouser=float(rng.uniform(0.35, 1.05) if shorts else rng.uniform(1.8, 2.0)),
            waist=waist,
            skirt=skirt,
            flare=float(rng.uniform(0.0, 0.09)),
            dress=dress,
            ease_top=float(rng.uniform(0.004, 0.022)),
            ease_bottom=float(rng.uniform(0.003, 0.018)),
            trouser_flare=float(max(0.0, rng.normal(0.006, 0.012))),
            shoes=skin if bare else _jitter(rng, _choose(rng, _CLOTHS, (12, 30, 6, 6, 8, 3, 4, 1, 6, 16, 2, 3)), 20),
            soles=skin if bare else _choose(rng, ((236, 236, 232), (40, 38, 38), (120, 90, 60)), (5, 4, 2)),
            boot=float(rng.uniform(1.25, 1.8)) if rng.random() < 0.15 and not bare else 1.97,
            socks=_jitter(rng, _choose(rng, _CLOTHS, None), 15) if rng.random() < 0.5 and not bare else None,
            hat=random_color(rng),
            hat_style=hat_style,
            belt=(46, 34, 26) if rng.random() < 0.25 else None,
            print_color=random_color(rng) if rng.random() < 0.22 else None,
            straps=random_color(rng) if rng.random() < 0.08 else None,
            glasses=_choose(rng, ("none", "clear", "dark"), (80, 12, 8)),
            smile=float(rng.uniform(-0.5, 1)),
        )


HAIR_STYLES = ("bald", "receding", "short", "long", "tail", "bun", "curly")
_MENS_HAIR = (8, 10, 66, 5, 2, 1, 8)
_WOMENS_HAIR = (1, 0, 18, 42, 18, 11, 10)
HAT_STYLES = ("none", "cap", "beanie", "brim", "helmet")


def random_color(rng: np.random.Generator) -> Color:
    """A color of cloth: often a common one, else any hue."""
    if rng.random() < 0.6:
        return _jitter(rng, _choose(rng, _CLOTHS, None), 14)
    hue, saturation, value = rng.random() * 6, 0.08 + 0.75 * rng.random() ** 1.6, rng.uniform(0.2, 0.95)
    ramp = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    red, green, blue = (255 * value * (1 - saturation * (1 - ramp))).tolist()
    return red, green, blue


def random_cloth(rng: np.random.Generator, plain: float = 0.0) -> Pattern:
    """Cloth of a random pattern; plain at least with the chance `plain`."""
    kind = "plain" if rng.random() < plain else _choose(rng, _PATTERNS, _PATTERN_WEIGHTS)
    return Pattern(kind, random_color(rng), random_color(rng), float(rng.uniform(0.05, 0.14)))


def _choose(rng: np.random.Generator, options: Sequence, weights: tuple[float, ...] | None) -> Any:
    """One of the options, by weight or each as likely."""
    if weights is None:
        return options[int(rng.random() * len(options))]
    return options[bisect(_cumulative(weights), rng.random())]


@cache
def _cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Cumulative shares, without the last, which is 1."""
    total = sum(weights)
    return tuple(value / total for value in accumulate(weights[:-1]))


def _mix(colors: Sequence[Color], position: float) -> Color:
    index = int(position)
    return _blend(colors[index], colors[index + 1], position - index)


def _blend(first: Color, second: Color, share: float) -> Color:
    red, green, blue = (a + (b - a) * float(share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(value * float(factor), 255.0) for value in color)
    return red, green, blue


def _jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    red, green, blue = np.clip(np.array(color) + rng.normal(0, amount, 3), 4, 250).tolist()
    return red, green, blue
