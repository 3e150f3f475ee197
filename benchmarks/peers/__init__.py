"""Others doing the same work, as their own documentation tells one to write it. Each runs as its own process."""
