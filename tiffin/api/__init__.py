"""The Docker Engine API: JSON in, engine calls, JSON out. What differs by API version is decided here alone."""
