"""Training: data sets and augmentation for transformers' `Trainer`, fine-tuning, and rendered people."""
