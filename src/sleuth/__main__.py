"""``python -m sleuth``, and ``torchrun -m sleuth``."""

from sleuth.cli.main import run

if __name__ == "__main__":
    run()
