"""The disk: database, content store, snapshots, layers."""
