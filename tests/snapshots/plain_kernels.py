"""Torch and its libraries without the kernels that only some processors have: the last digits shown are those of any
x86-64 then.
"""

import os
import sys

IN_TIME = "torch" not in sys.modules
"""Whether what is set here counts: it is read once, when torch is imported."""

if IN_TIME:
    os.environ |= {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
