"""Where orders go. Only risk/execution.py may hand an order to a broker; import-linter keeps it so."""
