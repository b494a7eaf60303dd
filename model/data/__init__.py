"""From a log to what training draws: tables, the data set, batches, co-occurrence."""
