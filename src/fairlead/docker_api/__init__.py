"""What it takes to talk to a Docker daemon: the connection, its errors, images.

Below `engines` and `routers`, since both speak to the same daemon and adapters never import each other.
"""
