"""`mode="lightweight" | "balanced" | "performance"`: which pose model and detector an alias stands for.

The pairs are those of rtmlib (https://github.com/Tau-J/rtmlib), where the same weights are in the zoo. For hands it
has one pair; its pose models for animals are not published by the reference project, so there the detector alone
differs.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from hfpose.errors import ConfigError
from hfpose.hub.zoo import find_entry

Mode = Literal["lightweight", "balanced", "performance"]


class ModePair(NamedTuple):
    """Zoo names of a pose model and of the detector before it; None for a model that needs none."""

    pose: str
    detector: str | None


_HUMAN_ART = "yolox_{}_8xb8-300e_humanart"
_TINY, _MEDIUM, _LARGE = (_HUMAN_ART.format(size) for size in ("tiny", "m", "x"))
_HANDS = ModePair("rtmpose-m_8xb256-210e_hand5-256x256", "rtmdet_nano_320-8xb32_hand")
_ANIMALS = "rtmpose-m_8xb64-210e_ap10k-256x256"

# By one alias of the models; the pairs in the order of `Mode`.
_PAIRS: dict[str, tuple[ModePair, ModePair, ModePair]] = {
    "human": (
        ModePair("rtmpose-s_8xb256-420e_body8-256x192", _TINY),
        ModePair("rtmpose-m_8xb256-420e_body8-256x192", _MEDIUM),
        ModePair("rtmpose-x_8xb256-700e_coco-384x288", _LARGE),
    ),
    "body26": (
        ModePair("rtmpose-s_8xb1024-700e_body8-halpe26-256x192", _TINY),
        ModePair("rtmpose-m_8xb512-700e_body8-halpe26-256x192", _MEDIUM),
        ModePair("rtmpose-x_8xb256-700e_body8-halpe26-384x288", _LARGE),
    ),
    "wholebody": (
        ModePair("rtmw-m_8xb1024-270e_cocktail14-256x192", _TINY),
        ModePair("rtmw-l_8xb1024-270e_cocktail14-256x192", _MEDIUM),
        ModePair("rtmw-l_8xb320-270e_cocktail14-384x288", _MEDIUM),
    ),
    "hand": (_HANDS, _HANDS, _HANDS),
    "animal": (
        ModePair(_ANIMALS, "yolox_tiny_8xb8-300e_coco"),
        ModePair(_ANIMALS, "rtmdet_m_8xb32-300e_coco"),
        ModePair(_ANIMALS, "yolox_x_8xb8-300e_coco"),
    ),
    "rtmo": (
        ModePair("rtmo-s_8xb32-600e_body7-640x640", None),
        ModePair("rtmo-m_16xb16-600e_body7-640x640", None),
        ModePair("rtmo-l_16xb16-600e_body7-640x640", None),
    ),
}


def models_for_mode(name: str, mode: str) -> ModePair:
    """The pose model and the detector that an alias stands for in a mode.

    Args:
        name: `human`, `body26`, `wholebody`, `hand`, `animal` or `rtmo`, or another alias of the same model.
        mode: `"lightweight"`, `"balanced"` or `"performance"`.

    Raises:
        ConfigError: for another mode, or a name that has no modes.
    """
    modes = get_args(Mode)
    if mode not in modes:
        raise ConfigError(f"mode must be one of {', '.join(modes)}, got {mode!r}.")
    entry = find_entry(name, "pose")
    alias = next((alias for alias in _PAIRS if entry is not None and alias in entry.aliases), None)
    if alias is None:
        raise ConfigError(
            f"{name!r} has no modes; {', '.join(_PAIRS)} have. Leave mode out, and name the model and its detector."
        )
    return dict(zip(modes, _PAIRS[alias], strict=True))[mode]
