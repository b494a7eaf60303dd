"""``python -m index``: one module for each group of subcommands."""
