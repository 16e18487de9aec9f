"""Speed, memory and reads, measured beside other programs in one run. `make bench` prints the table."""

import sys
from pathlib import Path

# The private engines and servers on loopback that the tests use serve here as well.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
