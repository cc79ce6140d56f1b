"""DEKR (Geng et al., 2021, https://arxiv.org/abs/2104.02300)."""
