"""The durable journal of a run, and its read-only queries; the only package that opens SQLite."""
