"""A run that tests kill: reads inputs and writes results of every kind, slowly if asked.

python run_with_writers.py OUT_DIR DELAY RESUME FORMATS INPUT...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hfpose.media.sources import open_source
from hfpose.media.writers import open_writers

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_output


def main(out_dir: str, delay: str, resume: str, formats: str, *inputs: str) -> None:
    writers = open_writers(out_dir=out_dir, formats=formats.split(","), resume=bool(int(resume)))
    skip = writers.is_complete if int(resume) else None
    with writers, open_source(list(inputs), skip=skip) as source:
        for frame in source:
            writers.write(frame, make_output(frame, people=2))
            print(frame.name, frame.frame_index, flush=True)
            time.sleep(float(delay))


if __name__ == "__main__":
    main(*sys.argv[1:])
