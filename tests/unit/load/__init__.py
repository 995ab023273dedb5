"""The load client against a server that misbehaves on purpose."""
