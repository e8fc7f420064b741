"""From a model's outputs to what callers get: steps over the whole batch."""
