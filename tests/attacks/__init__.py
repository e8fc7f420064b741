"""Peers that mean harm or are broken, against the real server: it stays up, bounded, and goes on answering others."""
