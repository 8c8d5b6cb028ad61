"""Names of fields and variables, for every list of names of secrets: dump, logs, taps and the SDK know the same."""

from __future__ import annotations

from typing import Final

NAMES_OF_SECRETS: Final = (
    *("password", "dbPassword", "DB_PASSWORD", "passphrase", "DB_PASS", "dbPass", "dbPwd", "token", "accessToken"),
    *("jwt", "basic_auth", "basicAuth", "authorization", "bearer", "otp", "totp", "sas"),
    *("credential", "awsCredentials"),
    *("cookie", "session_cookie", "dsn", "SENTRY_DSN", "sentryDsn", "webhook_url", "webhookUrl", "sas_url"),
    *("connection_string", "connectionString", "apiKey", "access-key", "account_key", "private_key", "signingKey"),
    *("session_key", "sessionKey", "ssh_key", "encryption_key", "decryption_key", "master_key", "shared_key"),
)
NAMES_OF_OTHERS: Final = (
    *("primary_key", "partition_key", "key_name", "idempotencyKey", "bypass", "auth_mode", "compass", "author"),
    *("surpass", "author_name", "dsnow"),
)
