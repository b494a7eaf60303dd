"""A bundle: what is in it, how it is built, checked and compared."""
