"""Figures, diagrams of networks, and widgets that show pictures."""
