"""Starting scripts: which interpreter, on what terminal, and how they are ended."""
