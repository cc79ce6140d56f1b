"""Many workers on one run: what each does, parts of long videos, and one account of it all."""

from hfpose.distributed.actor import PoseActor as PoseActor

__all__ = ["PoseActor"]
