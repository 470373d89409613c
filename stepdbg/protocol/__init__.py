"""What the script's side and the screen's side say to each other.

Frozen dataclasses (`records`, `messages`), one codec that validates on decoding (`codec`), the rules of who may
say what when (`states`), and a connection without I/O that applies them (`connection`). Standard library only,
Python 3.10 or newer: this package is imported inside the user's own process.
"""

VERSION = 1
"""Protocol version. Both sides compare it in the first message and refuse to go on if it differs."""
