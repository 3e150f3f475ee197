"""Side-by-side measurements: each against its limit and its peers, in one run. `fleetline bench --list`."""
