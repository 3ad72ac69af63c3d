"""Yahoo's names for exchanges and kinds of instruments, in our words. Pure.

Currency is the unit prices are quoted in: GBp, ZAc and ILA are hundredths of GBP, ZAR and ILS.
"""

from __future__ import annotations

from typing import Any

from marketdata.sources.base import Found

KINDS = {"EQUITY": "stock", "ETF": "etf", "INDEX": "index", "FUTURE": "future", "CRYPTOCURRENCY": "crypto"}

# Yahoo's code: calendar of exchange_calendars and currency
EXCHANGES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("NMS", "NGM", "NCM", "NIM", "NAS", "NYQ", "NYS", "ASE", "PCX", "BTS", "BATS"), ("XNYS", "USD")),
    **dict.fromkeys(("SNP", "DJI", "WCB", "CXI", "CBO", "NYB"), ("XNYS", "USD")),
    **dict.fromkeys(("CME", "CBT", "NYM", "CMX"), ("CMES", "USD")),
    "CCC": ("24/7", "USD"),
    "LSE": ("XLON", "GBp"), "IOB": ("XLON", "USD"), "FGI": ("XLON", "GBP"),
    "GER": ("XETR", "EUR"), "FRA": ("XFRA", "EUR"), "PAR": ("XPAR", "EUR"), "AMS": ("XAMS", "EUR"),
    "BRU": ("XBRU", "EUR"), "LIS": ("XLIS", "EUR"), "MIL": ("XMIL", "EUR"), "MCE": ("XMAD", "EUR"),
    "VIE": ("XWBO", "EUR"), "HEL": ("XHEL", "EUR"), "ISE": ("XDUB", "EUR"), "EBS": ("XSWX", "CHF"),
    "STO": ("XSTO", "SEK"), "CPH": ("XCSE", "DKK"), "OSL": ("XOSL", "NOK"), "WSE": ("XWAR", "PLN"),
    "TOR": ("XTSE", "CAD"), "VAN": ("XTSE", "CAD"), "MEX": ("XMEX", "MXN"), "SAO": ("BVMF", "BRL"),
    "JPX": ("XTKS", "JPY"), "OSA": ("XTKS", "JPY"), "HKG": ("XHKG", "HKD"), "SHH": ("XSHG", "CNY"),
    "SHZ": ("XSHG", "CNY"), "KSC": ("XKRX", "KRW"), "KOE": ("XKRX", "KRW"), "TAI": ("XTAI", "TWD"),
    "SES": ("XSES", "SGD"), "ASX": ("XASX", "AUD"), "NZE": ("XNZE", "NZD"), "NSI": ("XBOM", "INR"),
    "BSE": ("XBOM", "INR"), "JNB": ("XJSE", "ZAc"), "TLV": ("XTAE", "ILA"),
}  # fmt: skip


def found(quote: dict[str, Any]) -> Found | None:
    """One quote of Yahoo's search; None for what the desk does not trade or an exchange it knows no calendar of."""
    kind = KINDS.get(str(quote.get("quoteType", "")).upper())
    place = EXCHANGES.get(str(quote.get("exchange", "")).upper())
    symbol = str(quote.get("symbol", ""))
    if kind is None or place is None or not symbol:
        return None
    calendar, currency = place
    if kind == "crypto" and "-" in symbol:
        currency = symbol.rpartition("-")[2][:3]
    name = str(quote.get("longname") or quote.get("shortname") or symbol)
    shown = str(quote.get("exchDisp") or quote["exchange"])
    return Found(symbol[:32], name[:120], kind, exchange=shown[:32], currency=currency, calendar=calendar)
