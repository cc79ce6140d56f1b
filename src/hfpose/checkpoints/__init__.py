"""Foreign checkpoints and configs, read as data: nothing in them is ever run."""
