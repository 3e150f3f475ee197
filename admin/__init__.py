"""The admin API: the registry over HTTP, for people and scripts. It decides nothing: the rules are `registry.rules`."""
