"""A second, slow and plain simulation of an account, to hold the kernel against.

Written from the rules in words (docs/simulation.md), never from the kernel: plain floats and dataclasses, one small
file per part of the page. Where a comment says "step 3" it means the step of that number in the page's first table.
"""
