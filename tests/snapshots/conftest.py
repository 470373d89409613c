"""The helpers of real runs lie beside the other tests of the app."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
