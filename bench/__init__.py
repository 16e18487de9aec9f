"""Speed, memory and reads, measured beside other programs in one run. `make bench` prints the table."""
