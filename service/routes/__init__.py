"""One module per tag of the API. A route takes types in, calls one thing, gives its answer out."""
