"""The ClickHouse loader: every record of its topics becomes exactly one row, through crashes, rebalances and lost answers."""
