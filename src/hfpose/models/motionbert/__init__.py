"""MotionBERT: 3D human poses from 2D keypoints over up to 243 frames."""
