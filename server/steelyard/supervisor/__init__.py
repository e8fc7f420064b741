"""The supervisor and the worker: processes, sockets, state, admin."""
