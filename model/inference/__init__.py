"""Encoders without torch, for the index and the service: history in, k interests out, in NumPy."""
