"""HRNet (Sun et al., 2019, https://arxiv.org/abs/1902.09212)."""
