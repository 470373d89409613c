"""Answers as lines of plain text: for batch mode, and wherever no screen draws them. Records in, lines out, no I/O."""
