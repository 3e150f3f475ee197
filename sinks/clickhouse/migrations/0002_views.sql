-- What people query. FINAL collapses what senders sent twice, so a count is right before any merge has run; filters on tenant_id,
-- device_id and observed_at reach the rows. Sentinels become NULL, scaled integers degrees, ids text.

CREATE VIEW IF NOT EXISTS telemetry AS
SELECT
    UUIDNumToString(id) AS id, tenant_id, device_id, source, source_device, gateway_id, type,
    observed_at,
    if(toUnixTimestamp64Micro(platform_at) = 0, NULL, platform_at) AS platform_at,
    received_at, time_source,
    if(latitude_e7 = -2147483648, NULL, latitude_e7 / 1e7) AS latitude,
    if(longitude_e7 = -2147483648, NULL, longitude_e7 / 1e7) AS longitude,
    if(isNaN(altitude_m), NULL, altitude_m) AS altitude_m,
    if(isNaN(speed_kmh), NULL, speed_kmh) AS speed_kmh,
    if(isNaN(course_deg), NULL, course_deg) AS course_deg,
    if(isNaN(accuracy_m), NULL, accuracy_m) AS accuracy_m,
    if(isNaN(hdop), NULL, hdop) AS hdop,
    if(isNaN(pdop), NULL, pdop) AS pdop,
    if(satellites < 0, NULL, satellites) AS satellites,
    if(toUnixTimestamp64Micro(fix_at) = 0, NULL, fix_at) AS fix_at,
    if(fix_valid < 0, NULL, fix_valid = 1) AS fix_valid,
    numbers, booleans, texts, event_type, event_attributes,
    raw_topic, raw_partition, raw_offset, raw_index, normalizer_version
FROM telemetry_rows FINAL;

CREATE VIEW IF NOT EXISTS unmapped AS
SELECT
    UUIDNumToString(id) AS id, tenant_id, source, source_device, gateway_id, type, observed_at,
    if(toUnixTimestamp64Micro(platform_at) = 0, NULL, platform_at) AS platform_at,
    received_at, time_source,
    if(latitude_e7 = -2147483648, NULL, latitude_e7 / 1e7) AS latitude,
    if(longitude_e7 = -2147483648, NULL, longitude_e7 / 1e7) AS longitude,
    numbers, booleans, texts, event_type, event_attributes,
    raw_topic, raw_partition, raw_offset, raw_index, normalizer_version
FROM unmapped_rows FINAL;

CREATE VIEW IF NOT EXISTS events AS
SELECT
    UUIDNumToString(id) AS id, tenant_id, device_id, type, observed_at, received_at, origin,
    UUIDNumToString(cause_id) AS cause_id, source, source_device, attributes,
    if(latitude_e7 = -2147483648, NULL, latitude_e7 / 1e7) AS latitude,
    if(longitude_e7 = -2147483648, NULL, longitude_e7 / 1e7) AS longitude,
    if(isNaN(altitude_m), NULL, altitude_m) AS altitude_m,
    if(isNaN(speed_kmh), NULL, speed_kmh) AS speed_kmh,
    if(isNaN(course_deg), NULL, course_deg) AS course_deg,
    if(isNaN(accuracy_m), NULL, accuracy_m) AS accuracy_m,
    if(toUnixTimestamp64Micro(fix_at) = 0, NULL, fix_at) AS fix_at,
    if(fix_valid < 0, NULL, fix_valid = 1) AS fix_valid
FROM events_rows FINAL;

CREATE VIEW IF NOT EXISTS quarantine AS
SELECT
    tenant_id, source, reason, detail, stage, if(item_index < 0, NULL, item_index) AS item_index, body, headers, received_at,
    origin_topic, origin_partition, origin_offset
FROM quarantine_rows FINAL;

CREATE VIEW IF NOT EXISTS deliveries AS
SELECT
    id, task_id, destination_id, tenant_id, event_id, event_type, url, attempt, outcome, if(status = 0, NULL, status) AS status,
    if(error = '', NULL, error) AS error, latency_ms, started_at, response_excerpt, txn_id
FROM deliveries_rows FINAL;
