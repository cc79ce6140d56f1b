"""`python -m hfpose` is the `hfpose` command."""

from hfpose.cli import main

if __name__ == "__main__":
    main()
