"""Colour, resizing, protocols, metrics, files and errors; independent of networks and papers."""
