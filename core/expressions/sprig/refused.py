"""Functions that authors know from other tools and that are not available, with reasons. Source: templating contract
11.
"""

from __future__ import annotations

from typing import Final

_KEYS = "it makes or uses key material, which would appear in the status of an object; use a Secret"
_SLOW = "it is made to be slow; compute it in a step"

REASONS: Final = {
    **dict.fromkeys(
        (
            "buildCustomCert",
            "genCA",
            "genCAWithKey",
            "genPrivateKey",
            "genSelfSignedCert",
            "genSelfSignedCertWithKey",
            "genSignedCert",
            "genSignedCertWithKey",
            "encryptAES",
            "decryptAES",
        ),
        _KEYS,
    ),
    **dict.fromkeys(("bcrypt", "htpasswd", "derivePassword"), _SLOW),
}
