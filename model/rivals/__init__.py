"""Models that OPAL is compared with, each trained, measured and served the way OPAL is."""
