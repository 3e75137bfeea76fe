"""Linux with Python signatures: a function per syscall or kernel file. Raises OSError."""
