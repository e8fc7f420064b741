"""From what callers send to the model's tensors, and from its outputs to what callers get."""
