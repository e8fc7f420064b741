"""What the server says of itself: metrics, statistics, logs and the ids of its decisions."""
