"""Packages that register networks, losses and scorers, imported on the first lookup of a name."""

from importlib import import_module

PLUGINS = ("srlib.papers",)  # imports the baselines it compares with


def load() -> None:
    """Import all plugins; a repeated or nested call has no effect."""
    for name in PLUGINS:
        import_module(name)
