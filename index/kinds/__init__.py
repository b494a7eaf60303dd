"""The kinds of index: what Faiss and ScaNN make of item vectors."""
