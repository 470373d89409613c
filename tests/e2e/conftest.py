"""The folders of helpers of these tests stand on the path: they are no package, scripts must not see one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
