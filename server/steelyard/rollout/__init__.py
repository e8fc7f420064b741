"""How a version comes into service, without I/O: labels, splits, comparison, the gate."""
