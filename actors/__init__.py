"""The actors, thin: receive, ask, record, send."""
