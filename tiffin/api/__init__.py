"""The Docker Engine API: HTTP in, JSON out, and nothing decided here but how it is said on the wire."""
