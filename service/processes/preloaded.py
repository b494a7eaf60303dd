"""The process that workers are forked from: it imports what they need, once, and does nothing else.

Code and what imports leave behind are then pages that all workers share, some 40 MiB for each of
them. No import makes a thread, opens anything or reads a setting: all of that is a worker's own.

``multiprocessing`` imports this module where it is to run (``worker_process`` names it to its fork
server), and nothing else does.
"""

import gc
import os

# Ctrl-C and other signals to a group are for the parent, which stops the workers in order.
if os.getpid() != os.getsid(0):
    os.setsid()

import index.bundles.bundle  # noqa: F401 - for those that are forked
import service.app  # noqa: F401

# What is collected has to be looked at, and what is looked at is written to: its page would be
# shared no longer. Nothing here will ever be garbage.
gc.collect()
gc.freeze()
