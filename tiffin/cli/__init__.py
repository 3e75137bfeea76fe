"""The command line: one more client of the daemon. Its hot commands import almost nothing."""
