"""demo_models/char_gpt.py as it is, several times; writes each time's seconds a step into a file.

usage: char_gpt.py FILE [TIMES [STEPS]]
"""

import json
import runpy
import sys
from pathlib import Path
from time import perf_counter

import torch  # so that its import is not timed

target = Path(sys.argv[1])
times = int(sys.argv[2]) if len(sys.argv) > 2 else 4
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 15

demo = Path(__file__).parents[2] / "demo_models" / "char_gpt.py"
torch.ones(64, 64, requires_grad=True).matmul(torch.ones(64, 64)).sum().backward()  # starts its threads

sys.argv = [str(demo), "--steps", str(steps)]
seconds = []
for _ in range(times):
    start = perf_counter()
    runpy.run_path(str(demo), run_name="__main__")
    seconds.append((perf_counter() - start) / steps)

target.write_text(json.dumps(seconds))
