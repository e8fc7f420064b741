"""Scheduling without I/O: events and the time come in, batches and the next wake-up go out."""
