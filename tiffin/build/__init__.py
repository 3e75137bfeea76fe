"""Dockerfiles: parse, plan, solve. The machine is reached through the BuildHost protocol."""
