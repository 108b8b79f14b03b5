-- What is asked of the history again and again is asked by kind, mostly of one instance.
CREATE INDEX events_by_kind ON events (
    CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.kind') END
);
CREATE INDEX events_by_instance ON events (
    CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.instance') END,
    CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.kind') END
);
