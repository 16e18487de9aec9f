"""Archives in a directory of another host, over the system's own ssh."""
