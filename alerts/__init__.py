"""Alerts: will turn journal events into WhatsApp, Telegram and e-mail messages. It reads core only; nobody imports it.

No rules or recipients exist yet; until they do, the journal on the Logs page is where events are read.
"""
