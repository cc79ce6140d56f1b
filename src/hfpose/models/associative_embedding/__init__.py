"""Associative embedding (Newell et al., 2017, https://arxiv.org/abs/1611.05424)."""
