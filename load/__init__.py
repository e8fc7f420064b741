"""Load on a server: requests that are sent when they are due, whatever becomes of those before them."""
