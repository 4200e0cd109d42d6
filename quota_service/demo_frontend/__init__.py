"""The demo's registration frontend, and the payment provider that it sends candidates to.

Both are here to be read: `frontend.py` is all that a team's own server has to do beside what it
does already, `provider.py` what its payment provider does. The pages are `quota_service/web/`.
"""
