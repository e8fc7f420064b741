"""From texts to rows of tokens."""
