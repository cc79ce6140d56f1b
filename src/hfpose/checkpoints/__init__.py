"""Foreign checkpoints and configs, read as data: nothing in them is ever run."""

from hfpose.checkpoints.reader import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
