"""Where a training runs: device, processes, signals, memory, progress."""
