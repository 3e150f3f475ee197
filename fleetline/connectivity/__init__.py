"""How to connect: addresses, the catalogue of all sources, and examples to paste for one device.

Pure functions over the settings and the sources' declarations: no broker, no web framework. The command line, the ingress and
the admin API print the same from here.
"""
