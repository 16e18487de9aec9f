# Paths in the container that are kept in volumes. Their order is how a backup knows them: append, never reorder.
VOLUMES=("/notes" "/config")
# Other images that this service uses.
EXTRACONTAINERS=()
