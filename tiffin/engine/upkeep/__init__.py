"""What a crash leaves behind: found, named and mended, at the engine's start and on request."""
