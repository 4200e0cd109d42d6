"""The secrets of payment callbacks, as a setting has them; `client.webhooks` signs and checks."""

from quota_service.client.webhooks import SECRET_MIN_BYTES, secret_key
from quota_service.settings import SettingsError


def parse_secrets(
    text: str, setting: str = "QUOTA_PAYMENT_SECRETS", min_bytes: int = SECRET_MIN_BYTES
) -> tuple[bytes, ...]:
    """Return the keys in a comma-separated list of `whsec_<base64>`; SettingsError if malformed."""
    parts = filter(None, map(str.strip, text.split(",")))
    try:
        return tuple(secret_key(part, min_bytes) for part in parts)
    except ValueError as error:
        raise SettingsError(
            f"{setting} takes whsec_<base64>, comma-separated, each of at least {min_bytes} bytes"
        ) from error
