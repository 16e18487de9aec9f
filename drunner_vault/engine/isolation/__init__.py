"""Docker for a service that is being drilled: it sees an engine of its own, and can touch nothing of the others.

Services' scripts call `docker` themselves. For the length of a drill they reach a proxy of ours instead of the engine:

    docker, docker-compose → socket of the drill → rules → the engine's socket

`rules` decide about each request: it is passed on, changed, or answered with a refusal. `hostconfig` says how
containers are made, `images` remembers which images a drill brought, `namespace` is a network for the scripts, and
`room` makes the drill's own network and removes every trace.
"""

from drunner_vault.engine.isolation.room import DRILL_LABEL, ContainerState, Room

__all__ = ["DRILL_LABEL", "ContainerState", "Room"]
