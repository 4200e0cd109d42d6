"""The waiting room: the draw, tickets, passes and the public document, as pure values and rules.

It imports nothing but the domain; what is kept in the stores is written by `registration/`.
"""
