"""The Faust app: normalize, identify, detect events, route them to destinations. At least once, with deterministic ids."""
