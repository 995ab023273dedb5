"""What the words of `x-fairlead.route` may consist of, so that they can stand in the configuration of a load balancer.

Read by `fairlead_options`, which knows the place in the file, and by the routers, which trust nobody.
"""

from __future__ import annotations

import re

HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
PATH = re.compile(r"/[A-Za-z0-9._~!$&()*+,;=:@%/-]*")
COOKIE = re.compile(r"[A-Za-z0-9_.-]+")
