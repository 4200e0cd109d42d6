"""The words of exam registration as plain values and rules, on the standard library alone.

Nothing here speaks to a store, a client or a file.
"""
