"""MQTT 3.1, 3.1.1 and 5 as a way into the raw topics: no broker, nothing is kept and nothing is ever delivered to a client."""
