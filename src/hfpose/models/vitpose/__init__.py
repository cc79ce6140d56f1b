"""ViTPose (Xu et al., 2022, https://arxiv.org/abs/2204.12484): transformers' own models, our image processor."""
