"""Items that must not be served any more, in a file beside the registry's bundles."""
