"""Yardsticks: simpler models that OPAL is measured against, on the same data by the same protocol.

``popular``, ``itemknn`` and ``ease`` are one model each, made from the matrix of ``matrix`` and
seen through the protocol of ``baseline``. ``fitting`` makes one by its name, ``measuring`` measures
those that a data set allows, ``yardstick_run`` makes a run of one; the others know nothing of runs
and files.
"""
