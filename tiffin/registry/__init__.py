"""Other hosts that keep images: the OCI distribution protocol and its transport."""
