"""Sapiens2 (https://github.com/facebookresearch/sapiens2): transformers' own model, our image processor."""
