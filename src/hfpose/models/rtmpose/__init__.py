"""RTMPose (Jiang et al., 2023, https://arxiv.org/abs/2303.07399)."""
