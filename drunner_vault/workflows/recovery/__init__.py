"""What a person needs who has lost a host, and proof that it would do."""
