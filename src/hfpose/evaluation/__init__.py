"""Measuring models: COCO's average precision and recall, PCK, AUC, EPE, NME and MPJPE."""
