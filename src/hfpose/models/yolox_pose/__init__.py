"""YOLOX-Pose: people of an image in one pass, keypoints by regression."""
