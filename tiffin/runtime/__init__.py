"""Processes: the plan of a container, and the zygote, shim and init that carry it out."""
