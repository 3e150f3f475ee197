-- A record that waited for its device comes a second time once it was released, with the device it went to: the later row
-- takes the first one's place, so `unmapped` shows what still waits, and nothing counts twice beside `telemetry`.

ALTER TABLE unmapped_rows ADD COLUMN IF NOT EXISTS released_to String DEFAULT '' CODEC(ZSTD(1));

CREATE OR REPLACE VIEW unmapped AS
SELECT
    UUIDNumToString(id) AS id, tenant_id, source, source_device, gateway_id, type, observed_at,
    if(toUnixTimestamp64Micro(platform_at) = 0, NULL, platform_at) AS platform_at,
    received_at, time_source,
    if(latitude_e7 = -2147483648, NULL, latitude_e7 / 1e7) AS latitude,
    if(longitude_e7 = -2147483648, NULL, longitude_e7 / 1e7) AS longitude,
    numbers, booleans, texts, event_type, event_attributes,
    raw_topic, raw_partition, raw_offset, raw_index, normalizer_version
FROM unmapped_rows FINAL
WHERE released_to = '';
