"""From the bytes of files and of sound to rows of tokens and samples."""
