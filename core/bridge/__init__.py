"""The desk's side of the bridge to Interactive Brokers: bridge_csharp/openapi.yaml in Python. Knows no table."""
