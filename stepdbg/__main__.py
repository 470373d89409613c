"""`python -m stepdbg`."""

import sys

from stepdbg.cli import main

if __name__ == "__main__":
    sys.exit(main())
