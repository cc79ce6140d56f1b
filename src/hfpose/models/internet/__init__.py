"""InterNet (Moon et al., 2020, https://arxiv.org/abs/2008.09309)."""
