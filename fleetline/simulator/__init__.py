"""The sender simulator: plays every sender as it really behaves, and accounts for every reading it was acknowledged."""
