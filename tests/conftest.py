"""What holds for all tests."""

import faiss
import torch


def pytest_configure() -> None:
    """Take one thread for what tests train and search in their own process.

    Results are the same to the last bit then, and threads of a pool do not wait for each other, in
    a loop that keeps a core busy, while other programs have theirs.
    """
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
