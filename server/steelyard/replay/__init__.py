"""What was asked is asked again, without touching what serves."""
