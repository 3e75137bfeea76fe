-- The first schema. Later ones are steps in database.MIGRATIONS; user_version says how many are done.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE images (
    id              TEXT PRIMARY KEY,     -- digest of the config
    config_digest   TEXT NOT NULL,
    size            INTEGER NOT NULL,
    created_ns      INTEGER NOT NULL,
    manifest_digest TEXT NOT NULL
) STRICT;

CREATE TABLE tags (
    reference TEXT PRIMARY KEY,
    image_id  TEXT NOT NULL
) STRICT;
CREATE INDEX tags_of_image ON tags (image_id);

CREATE TABLE repo_digests (
    name     TEXT NOT NULL,
    digest   TEXT NOT NULL,
    image_id TEXT NOT NULL,
    PRIMARY KEY (name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_digests_of_image ON repo_digests (image_id);

-- Directories snapshots/<id>. A committed one is named by its chain ID; the others are active.
CREATE TABLE snapshots (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
    chain_id      TEXT UNIQUE,
    diff_id       TEXT,
    parent        TEXT,                               -- a chain ID
    size          INTEGER NOT NULL DEFAULT 0,         -- of the uncompressed tar
    content_bytes INTEGER NOT NULL DEFAULT 0,
    settled       INTEGER NOT NULL DEFAULT 0          -- 1: its files survive a power loss
) STRICT;

-- The blob from which a layer's bytes can be had again.
CREATE TABLE layer_blobs (
    diff_id    TEXT PRIMARY KEY,
    digest     TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL
) STRICT;

CREATE TABLE containers (
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE volumes (
    name   TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE networks (
    name   TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,
    chain_id    TEXT NOT NULL,
    diff_id     TEXT NOT NULL,
    config_json BLOB NOT NULL,
    description TEXT NOT NULL,
    created_ns  INTEGER NOT NULL
) STRICT;
