"""Where bundles are published: what is live, what was, what may become so."""
