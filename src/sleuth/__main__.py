"""``python -m sleuth``, and ``torchrun -m sleuth``."""

import sys

from sleuth.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
