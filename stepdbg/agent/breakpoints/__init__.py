"""Where the user wants the script to stop, and what they want watched."""
