"""One module per sender, each with one `PROFILE`; found by scanning, see `fleetline.simulator.catalog`."""
