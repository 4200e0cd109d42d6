"""quota-service: the service that keeps exam registration standing when it opens."""

__version__ = "0.1.0"
