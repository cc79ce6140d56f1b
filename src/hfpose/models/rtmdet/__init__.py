"""RTMDet (Lyu et al., 2022, https://arxiv.org/abs/2212.07784)."""
