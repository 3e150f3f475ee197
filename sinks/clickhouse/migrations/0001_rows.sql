-- Rows as the loader inserts them. Each insert carries a token made of its Kafka offset range; MergeTree forgets tokens unless
-- its window is set, so every table sets it. Replacing by the sorting key is the second net: it collapses a message that its
-- sender sent twice. `sent_us` and not `observed_at` is in the key, see docs/decisions/0001.

CREATE TABLE IF NOT EXISTS telemetry_rows
(
    id FixedString(16),
    tenant_id LowCardinality(String),
    device_id String CODEC(ZSTD(1)),
    source LowCardinality(String),
    source_device String CODEC(ZSTD(1)),
    gateway_id String CODEC(ZSTD(1)),
    type LowCardinality(String),
    observed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    platform_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sent_us Int64 CODEC(Delta, ZSTD(1)),
    time_source LowCardinality(String),
    latitude_e7 Int32 CODEC(Delta, ZSTD(1)),
    longitude_e7 Int32 CODEC(Delta, ZSTD(1)),
    altitude_m Float64 CODEC(ZSTD(1)),
    speed_kmh Float64 CODEC(ZSTD(1)),
    course_deg Float64 CODEC(ZSTD(1)),
    accuracy_m Float64 CODEC(ZSTD(1)),
    hdop Float64 CODEC(ZSTD(1)),
    pdop Float64 CODEC(ZSTD(1)),
    satellites Int32 CODEC(ZSTD(1)),
    fix_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    fix_valid Int8,
    numbers Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
    booleans Map(LowCardinality(String), Bool) CODEC(ZSTD(1)),
    texts Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    event_attributes String CODEC(ZSTD(1)),
    raw_topic LowCardinality(String),
    raw_partition Int32,
    raw_offset Int64 CODEC(Delta, ZSTD(1)),
    raw_index Int32,
    normalizer_version LowCardinality(String),
    version UInt32,
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    INDEX observed_range observed_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(observed_at)
ORDER BY (tenant_id, device_id, sent_us, id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS unmapped_rows AS telemetry_rows
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(observed_at)
ORDER BY (tenant_id, device_id, sent_us, id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS events_rows
(
    id FixedString(16),
    tenant_id LowCardinality(String),
    device_id String CODEC(ZSTD(1)),
    type LowCardinality(String),
    observed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sent_us Int64 CODEC(Delta, ZSTD(1)),
    origin LowCardinality(String),
    cause_id FixedString(16),
    source LowCardinality(String),
    source_device String CODEC(ZSTD(1)),
    attributes String CODEC(ZSTD(1)),
    latitude_e7 Int32,
    longitude_e7 Int32,
    altitude_m Float64,
    speed_kmh Float64,
    course_deg Float64,
    accuracy_m Float64,
    fix_at DateTime64(6, 'UTC'),
    fix_valid Int8,
    version UInt32,
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(observed_at)
ORDER BY (tenant_id, device_id, sent_us, id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS quarantine_rows
(
    tenant_id LowCardinality(String),
    source LowCardinality(String),
    reason LowCardinality(String),
    detail String CODEC(ZSTD(1)),
    stage LowCardinality(String),
    item_index Int32,
    body String CODEC(ZSTD(3)),
    headers Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    origin_topic LowCardinality(String),
    origin_partition Int32,
    origin_offset Int64,
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (tenant_id, origin_topic, origin_partition, origin_offset, item_index, reason)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS deliveries_rows
(
    id String CODEC(ZSTD(1)),
    task_id String CODEC(ZSTD(1)),
    destination_id LowCardinality(String),
    tenant_id LowCardinality(String),
    event_id String CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    url LowCardinality(String),
    attempt Int32,
    outcome LowCardinality(String),
    status Int32,
    error String CODEC(ZSTD(1)),
    latency_ms Float64,
    started_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    response_excerpt String CODEC(ZSTD(1)),
    txn_id String CODEC(ZSTD(1)),
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, destination_id, task_id, attempt, id)
SETTINGS non_replicated_deduplication_window = 10000;
