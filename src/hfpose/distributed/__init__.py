"""Many processes on one run: who does what, parts of long videos, and one account of it all."""
