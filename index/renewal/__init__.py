"""The next bundle between two trainings: items added and removed."""
