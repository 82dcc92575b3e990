-- Checksums, by which damage that SQLite does not see is seen. NULL, or no row: not known.
ALTER TABLE runs ADD COLUMN checksum INTEGER;
ALTER TABLE deployments ADD COLUMN checksum INTEGER;

-- Of the events that one transaction appended to a run, `first` to `last`.
CREATE TABLE checksums (
    run_id    TEXT NOT NULL,
    last      INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    checksum  INTEGER NOT NULL,
    PRIMARY KEY (run_id, last)
) STRICT, WITHOUT ROWID;

-- What is changed by a statement is no damage.
CREATE TRIGGER runs_changed AFTER UPDATE OF id, created_ms, request, measurement, cleanup ON runs BEGIN
    UPDATE runs SET checksum = NULL WHERE id = NEW.id;
END;
CREATE TRIGGER deployments_changed
AFTER UPDATE OF id, run_id, benchmark, target, manifest, opened_ms, debt, params, outputs, logs ON deployments BEGIN
    UPDATE deployments SET checksum = NULL WHERE id = NEW.id;
END;
CREATE TRIGGER events_changed AFTER UPDATE ON events BEGIN
    DELETE FROM checksums WHERE run_id = OLD.run_id
        AND last = (SELECT min(last) FROM checksums WHERE run_id = OLD.run_id AND last >= OLD.number);
END;
CREATE TRIGGER events_deleted AFTER DELETE ON events BEGIN
    DELETE FROM checksums WHERE run_id = OLD.run_id
        AND last = (SELECT min(last) FROM checksums WHERE run_id = OLD.run_id AND last >= OLD.number);
END;
