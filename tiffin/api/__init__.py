"""The Docker Engine API: HTTP in, JSON out. Nothing is decided here but how it is said."""
