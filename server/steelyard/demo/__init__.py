"""The demonstration: a real file-type model, served, and asked about the files of this machine."""
