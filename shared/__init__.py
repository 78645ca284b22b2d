"""The wire contract and the plumbing that at least two of the three services need.

Nothing here knows a rule of the flow: reading it teaches nothing about OAuth.
"""
