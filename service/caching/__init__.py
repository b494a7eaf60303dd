"""Where answers are kept: in the worker's memory and in Redis."""
