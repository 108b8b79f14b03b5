-- Of a snapshot that was pruned the digest stays, and what was in it goes with its documents.
UPDATE snapshots SET sections = ''
WHERE NOT EXISTS (SELECT 1 FROM collections WHERE snapshot_id = snapshots.id)
  AND digest IN (
    SELECT named.value
    FROM events, json_each(CASE WHEN json_valid(CAST(body AS TEXT)) THEN CAST(body AS TEXT) ELSE '{}' END, '$.data.snapshots') named
    WHERE CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.kind') = 'store.pruned' END
  );
