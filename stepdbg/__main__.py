"""`python -m stepdbg`: as the command `stepdbg`."""

import os
import sys

# `-m` puts the working directory first: a `random.py` of the user's there is the script's to import, not ours.
if sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109  (pathlib may be the user's)
    del sys.path[0]

from stepdbg.cli import main

if __name__ == "__main__":
    sys.exit(main())
