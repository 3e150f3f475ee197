"""The demonstration: every bundled sample of every source through the real stack, and the account of it afterwards."""
