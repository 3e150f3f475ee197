"""`python -m fleetline`: the same as the `fleetline` command."""

from fleetline.cli import main

main()
