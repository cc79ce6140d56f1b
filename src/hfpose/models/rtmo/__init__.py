"""RTMO: people of an image in one pass, keypoints by classification of their coordinates."""
