"""The keeper: one small program a home that starts replicas and keeps their logs while no controller is there.

It imports nothing but a few modules of the standard library, so that it stays at a few megabytes.
"""
