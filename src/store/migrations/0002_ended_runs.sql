-- How a run ended, in its own row: known without reading its events. NULL while it has not ended.
ALTER TABLE runs ADD COLUMN measurement TEXT;
ALTER TABLE runs ADD COLUMN cleanup TEXT;

-- The end of a run is its last event, unless another runner has taken it up since.
UPDATE runs SET (measurement, cleanup) = (
    SELECT json_extract(event, '$.measurement'), json_extract(event, '$.cleanup')
    FROM events
    WHERE run_id = runs.id
      AND number = (SELECT max(number) FROM events WHERE run_id = runs.id)
      AND json_extract(event, '$.event') = 'run_ended'
);

-- What a run owes is asked for whenever it is resumed.
CREATE INDEX deployments_owed ON deployments (run_id, debt);
