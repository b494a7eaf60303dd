"""From interests to candidates, whatever the kind of index."""
