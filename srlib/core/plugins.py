"""The packages that register networks, losses and scorers; they are imported when a name is first looked up."""

from importlib import import_module

PLUGINS = ("srlib.papers",)  # and the baselines, which they compare with


def load() -> None:
    """Import all plugins; those that are there, or on their way, stay as they are."""
    for name in PLUGINS:
        import_module(name)
