"""Where archives live."""
