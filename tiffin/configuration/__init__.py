"""What a daemon is told, by flags and by its file: dockerd's keys, obeyed or refused by name."""
