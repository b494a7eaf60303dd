"""How this process deals with the memory that it frees."""

import numpy as np

LARGEST_KEPT = 31 << 20  # bytes; glibc adapts to blocks of at most 32 MiB


def keep_freed_memory() -> None:
    """Let freed memory be used again instead of going back to the system at once.

    A training step makes and frees the same tensors of a few MiB again and again. glibc maps each
    of them anew, so that every page of it is a page fault in every step: up to half of the time.
    It stops doing so for sizes that it has seen freed; it learns from the one freed here. Where
    malloc is another one, nothing happens.
    """
    np.empty(LARGEST_KEPT, dtype=np.uint8)
