"""Which instruments a headline is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words that companies share: they say nothing about which one is meant.
_COMMON = {
    "inc", "corp", "corporation", "company", "co", "ltd", "plc", "sa", "ag", "nv", "the", "group", "holdings", "trust",
    "fund", "etf", "index", "class", "shares", "ultrapro", "proshares", "ishares", "spdr", "vanguard", "direxion",
    "daily", "bull", "bear", "international", "global", "american", "united", "first", "general", "national", "new",
}  # fmt: skip


def about(text: str, instruments: Iterable[tuple[int, str, str]]) -> list[int]:
    """Ids of the instruments (id, symbol, name) that the text names, in the order given.

    By symbol: in capitals, of two letters or more, as a word, after $ or in brackets; one letter only after $ or in
    brackets, since "A" and "F" are words. By name: its first word that is not shared by many companies, of four
    letters or more, written with a capital.
    """
    return [pk for pk, symbol, name in instruments if _names(text, symbol, name)]


def _names(text: str, symbol: str, name: str) -> bool:
    plain = re.escape(symbol.lstrip("^"))
    if re.search(rf"\$\b{plain}\b|\((?:[A-Z]+:\s?)?{plain}\)", text):
        return True
    if len(symbol.lstrip("^")) >= 2 and re.search(rf"(?<![\w.]){plain}(?![\w])", text):
        return True
    word = next((word for word in re.findall(r"[A-Za-z]{4,}", name) if word.lower() not in _COMMON), "")
    return bool(word) and bool(re.search(rf"\b{word[0].upper()}{re.escape(word[1:])}\b", text))
