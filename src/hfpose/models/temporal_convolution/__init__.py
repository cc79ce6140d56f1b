"""Temporal convolutions: 3D human poses from 2D keypoints of one frame (SimpleBaseline3D) or several (VideoPose3D)."""
