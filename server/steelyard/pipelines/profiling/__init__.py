"""Training data to what is known of its columns: a profile of them, and a first contract."""
