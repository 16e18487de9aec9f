# Paths in the container that are kept in volumes.
VOLUMES=()
# Other images that this service uses.
EXTRACONTAINERS=()
