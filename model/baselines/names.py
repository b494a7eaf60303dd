"""The yardsticks' names, in a module of their own: to list them must not load SciPy or torch."""

YARDSTICKS = ("pop", "itemknn", "ease")
"""Cheapest first."""
