"""ED-Pose (Yang et al., 2023, https://arxiv.org/abs/2302.01593)."""
