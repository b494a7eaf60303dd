"""From a request to its answer: who computes, when, and what."""
