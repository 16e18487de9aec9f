"""What this host remembers between commands, in `ROOT/vault`."""
