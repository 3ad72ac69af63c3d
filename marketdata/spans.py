"""Stretches of time that are stored already, and what is left to ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]  # seconds UTC, both ends included
EARLIEST = -(10**11)  # before any market: "as far back as the source goes"


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches in order, those that overlap or touch joined."""
    found: list[Span] = []
    for first, last in sorted(span for span in spans if span[0] <= span[1]):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def missing(wanted: Span, stored: Iterable[Span]) -> list[Span]:
    """What of `wanted` lies in no stored stretch, in order; empty when everything does."""
    found: list[Span] = []
    at, end = wanted
    for first, last in merged(stored):
        if last < at:
            continue
        if first > end:
            break
        if first > at:
            found.append((at, first - 1))
        at = last + 1
    if at <= end:
        found.append((at, end))
    return found
