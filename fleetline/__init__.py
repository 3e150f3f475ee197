"""The command line, the settings and the local stack."""

__version__ = "0.1.0"
