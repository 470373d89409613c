"""The debugger without a terminal: commands are run at the stops, answers are lines of text or of JSON."""
