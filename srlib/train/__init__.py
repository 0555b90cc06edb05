"""One training: its fields, losses, loop and run directory."""
