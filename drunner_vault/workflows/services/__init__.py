"""The life of a service on this host."""
