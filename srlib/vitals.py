"""Vital signs: whether the mechanism of a trained network works at all."""


def dead(signs: dict) -> str:
    """Return why signs prove nothing about the mechanism that they are of, "" for a live one."""
    return str(signs.get("dead", ""))
