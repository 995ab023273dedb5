"""The real command, real processes, a real HAProxy, and load that checks every answer."""
