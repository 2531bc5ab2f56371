"""The manifest's tables. A change is a further script at the end, never an edit of one that was released."""

BASE_LAYER = "base"

_V1 = """
CREATE TABLE repositories (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    wanted_ref TEXT,
    include TEXT NOT NULL,
    exclude TEXT NOT NULL,
    chunks INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    UNIQUE (source_type, source)
) STRICT;

CREATE TABLE refs (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    ref TEXT NOT NULL,
    layer TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    indexed_at REAL,
    PRIMARY KEY (repository, ref)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    layer TEXT NOT NULL,
    path TEXT NOT NULL,
    blob TEXT NOT NULL,
    outcome TEXT NOT NULL,
    language TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (repository, layer, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE file_terms (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    layer TEXT NOT NULL,
    path TEXT NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (repository, layer, path)
) STRICT;

CREATE TABLE frequencies (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    term INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    PRIMARY KEY (repository, term)
) STRICT, WITHOUT ROWID;

CREATE TABLE sweeps (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    layer TEXT NOT NULL,
    path TEXT NOT NULL,
    blob TEXT NOT NULL,
    PRIMARY KEY (repository, layer, path, blob)
) STRICT, WITHOUT ROWID;

CREATE TABLE deleted_repositories (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    files_done INTEGER NOT NULL DEFAULT 0,
    files_total INTEGER NOT NULL DEFAULT 0,
    chunks_done INTEGER NOT NULL DEFAULT 0,
    chunks_embedded INTEGER NOT NULL DEFAULT 0,
    chunks_reused INTEGER NOT NULL DEFAULT 0,
    elapsed_ms INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error_message TEXT,
    created_at REAL NOT NULL,
    finished_at REAL,
    sequence INTEGER NOT NULL
) STRICT;

CREATE INDEX jobs_by_repository ON jobs (repository, sequence);
CREATE INDEX jobs_by_state ON jobs (state, sequence);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID
"""

# What the index is of: "model" (an identity, JSON), "program" (the version that wrote last).
_V2 = """
CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

# Ranking weights that a team's own history chose: weights are the ones that differ from the defaults (JSON), evidence
# is what they were kept for (JSON).
_V3 = """
CREATE TABLE rankings (
    repository TEXT PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    weights TEXT NOT NULL,
    evidence TEXT NOT NULL,
    kept_at REAL NOT NULL
) STRICT, WITHOUT ROWID
"""

MIGRATIONS = (_V1, _V2, _V3)
