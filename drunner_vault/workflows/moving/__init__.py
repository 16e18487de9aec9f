"""A service that goes to another host, and a host that is rebuilt."""
