"""Docker: images, containers, volumes, and reading and writing a volume's tree. Home of the docker library.

`trees` and `hosttree` need no engine and do not import the library.
"""
