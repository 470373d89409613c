"""Graphs as files: rows and edges in, text out. No I/O; needs neither torch nor the screen."""

from stepdbg.export.formats import FORMATS, SUFFIXES, Format, format_of, suggestions
from stepdbg.export.writer import Edge, Writer, exported

__all__ = ["FORMATS", "SUFFIXES", "Edge", "Format", "Writer", "exported", "format_of", "suggestions"]
