"""RTMW (Jiang et al., 2024, https://arxiv.org/abs/2407.08634): RTMPose for 133 keypoints, with features of two
scales."""
