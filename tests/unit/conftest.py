"""Lets the tests of estimators import the exactly solvable VAE that they share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
