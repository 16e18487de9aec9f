"""PAX tar over byte streams: entries to bytes and back. Knows no archive, no volume."""
