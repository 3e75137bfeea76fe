"""tiffin-runtime: an OCI runtime on the command line, as runc's, of the engine's own machinery."""
