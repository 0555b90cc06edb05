"""Explorers of single papers, built on `widgets.Explorer`."""
