"""What the tests stand on: real engines, a real registry, images and services made on the spot."""
