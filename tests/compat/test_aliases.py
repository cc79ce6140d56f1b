"""Short names of models."""

from __future__ import annotations

import pytest

from hfpose.compat.mmpose import get_model_aliases
from hfpose.errors import ConfigError


def test_aliases_of_the_inference_guide():
    aliases = get_model_aliases()
    expected = {
        "animal": "rtmpose-m_8xb64-210e_ap10k-256x256",
        "human": "rtmpose-m_8xb256-420e_body8-256x192",
        "body26": "rtmpose-m_8xb512-700e_body8-halpe26-256x192",
        "face": "rtmpose-m_8xb256-120e_face6-256x256",
        "hand": "rtmpose-m_8xb256-210e_hand5-256x256",
        "wholebody": "rtmpose-m_8xb64-270e_coco-wholebody-256x192",
        "vitpose": "td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192",
        "vitpose-s": "td-hm_ViTPose-small-simple_8xb64-210e_coco-256x192",
        "vitpose-b": "td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192",
        "vitpose-l": "td-hm_ViTPose-large-simple_8xb64-210e_coco-256x192",
        "vitpose-h": "td-hm_ViTPose-huge-simple_8xb64-210e_coco-256x192",
        "human3d": "motionbert_dstformer-ft-243frm_8xb32-120e_h36m",
        "rtmo": "rtmo-l_16xb16-600e_body7-640x640",
        "hand3d": "internet_res50_4xb16-20e_interhand3d-256x256",
    }
    assert expected.items() <= aliases.items()


def test_detectors_are_another_scope():
    assert get_model_aliases("mmdet")["rtmdet-m"] == "rtmdet_m_8xb32-300e_coco"
    with pytest.raises(ConfigError, match="mmyolo"):
        get_model_aliases("mmyolo")
