"""HTTP/1.1 for calls that are answered from memory or by the stores: it knows no exam.

A connection's plain requests are answered here; at the first request that is anything else the
connection becomes aiohttp's, for good.
"""
