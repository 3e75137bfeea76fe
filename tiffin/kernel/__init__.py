"""Linux with Python signatures: one function per syscall or kernel file; raises OSError, knows nothing of tiffin."""
