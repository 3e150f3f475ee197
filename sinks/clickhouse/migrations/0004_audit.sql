-- The audit trail of the registry: one row per change, kept for ever. `position` orders the changes: those of one transaction have
-- one `at`. Before and after are JSON texts; of secrets they say only that there is one, see registry/audit.py.

CREATE TABLE IF NOT EXISTS audit_rows
(
    id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    actor LowCardinality(String),
    action LowCardinality(String),
    kind LowCardinality(String),
    object_id String CODEC(ZSTD(1)),
    tenant_id LowCardinality(String),
    version UInt32,
    before String CODEC(ZSTD(3)),
    after String CODEC(ZSTD(3)),
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, at, id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS audit AS
SELECT id, at, actor, action, kind, object_id, tenant_id, version, before, after, kafka_offset AS position
FROM audit_rows FINAL;
