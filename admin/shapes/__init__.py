"""What goes over the wire, in and out. Shapes check form only: which values make sense is for `registry.rules`."""
