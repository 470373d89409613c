"""What differs between stops, parameters, modules and files."""
