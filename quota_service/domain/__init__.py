"""The words of exam registration as plain values and rules, on the standard library alone.

Nothing here speaks to a store or a client; `definition_file` reads the files a definition is in.
"""
