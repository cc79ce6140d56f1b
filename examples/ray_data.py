"""Poses of the images in Parquet files, by Ray Data: python examples/ray_data.py IMAGES POSES [--model human]
[--workers 2]

IMAGES is a folder or URL of Parquet files with a column "image" of encoded images, POSES where those with poses go.
"""

from __future__ import annotations

import argparse

import ray

from hfpose.distributed import PoseActor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("poses")
    parser.add_argument("--model", default="human")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus-per-worker", type=float, default=0)
    args = parser.parse_args()
    poses = ray.data.read_parquet(args.images).map_batches(
        PoseActor,
        fn_constructor_kwargs={"model": args.model},
        batch_size=32,
        concurrency=args.workers,
        num_gpus=args.gpus_per_worker,
    )
    poses.drop_columns(["image"]).write_parquet(args.poses)


if __name__ == "__main__":
    main()
