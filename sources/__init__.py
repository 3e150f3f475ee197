"""One folder per sender: how it authenticates, what it sends, and how its bytes become canonical records."""
