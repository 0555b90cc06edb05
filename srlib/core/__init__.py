"""Colour, resizing, protocols and metrics, files and errors: knows no network and no paper."""
