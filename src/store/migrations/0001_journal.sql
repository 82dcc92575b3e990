-- Runs, their events, and the deployments that outlive them.
CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    created_ms  INTEGER NOT NULL,
    -- What was asked for: the command, its sources and options, as versioned JSON.
    request     TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    run_id  TEXT NOT NULL REFERENCES runs (id),
    number  INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    event   TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    id           TEXT PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id),
    benchmark    TEXT NOT NULL,
    target       TEXT NOT NULL,
    manifest     TEXT NOT NULL,
    opened_ms    INTEGER NOT NULL,
    -- 'open': never deployed; 'owed': cleanup is owed; 'paid': cleaned up.
    debt         TEXT NOT NULL CHECK (debt IN ('open', 'owed', 'paid')),
    -- Parameters and outputs that are no secrets, as JSON objects.
    params       TEXT NOT NULL,
    outputs      TEXT NOT NULL,
    -- The folder of the last invocation.
    logs         TEXT
) STRICT;
