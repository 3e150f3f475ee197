"""The local stack: a real Kafka and a real ClickHouse on this machine, and Fleetline's components beside them."""
