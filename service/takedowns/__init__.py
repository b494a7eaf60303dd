"""Items that must not be served any more."""
