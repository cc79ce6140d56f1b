"""YOLOX (Ge et al., 2021, https://arxiv.org/abs/2107.08430)."""
