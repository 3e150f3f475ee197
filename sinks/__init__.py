"""Where canonical records and events go: ClickHouse for analysts, customers' own servers by webhook."""
