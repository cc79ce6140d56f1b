"""RTMW3D (Jiang et al., 2024, https://arxiv.org/abs/2407.08634): 133 keypoints of a person in 3D from one image."""
