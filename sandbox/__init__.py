"""Runs untrusted code and tells what happened."""
