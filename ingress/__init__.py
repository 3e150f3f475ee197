"""The front door: authenticates, bounds, makes durable, answers. Stateless, and knows no vendor by name."""
