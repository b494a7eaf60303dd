"""From a data set to a run: steps, stages, validation, checkpoints."""
