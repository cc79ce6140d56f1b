"""SimCC (Li et al., 2022, https://arxiv.org/abs/2107.03332) over any backbone."""
