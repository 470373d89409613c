"""Not the standard library's: torch cannot be imported with it."""
