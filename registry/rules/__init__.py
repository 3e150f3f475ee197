"""What may enter the registry: plans that read a draft, refuse what breaks a rule, and put the rest into it.

Pure: nothing is sent, so a plan may be run again on a newer registry. What is refused raises RegistryRefused (or its NotFound,
Conflict, Stale) with a text for the operator.
"""
