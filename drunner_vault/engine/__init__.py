"""Docker: images, containers, volumes, and reading and writing a volume's tree. Home of the docker library.

`trees`, `hostreader` and `hostwriter` need no engine and do not import the library.
"""
