"""The bench: what the service does at its best, as ratios to baselines of the same run.

python -m loadtest.bench [--rounds N] [--seconds N] [--connections 64,256] [--only NAME] [--quick]
"""
