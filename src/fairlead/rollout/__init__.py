"""When: the state machine that takes a service from one revision to the next, and a project from one release
to the next. Pure: `step(state, what is observed, now)` answers with the new state and the commands to carry out.
"""
