"""The `hfpose` command, also as `python -m hfpose`."""

import sys


def main() -> None:
    """Entry point, which ends without a traceback where Ctrl-C comes while the commands are imported."""
    try:
        from hfpose.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
