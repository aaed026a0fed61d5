"""``python -m vae_tutorial``: the command line."""

import sys

from vae_tutorial.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
