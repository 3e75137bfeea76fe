"""Registries: the distribution protocol as conversations, and the client that holds them."""
