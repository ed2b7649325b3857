"""Evaluation: pass@k, the gate's statistics, reports and plots."""
