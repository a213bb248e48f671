"""Starts PyKMIP's server with TLS 1.3 and any of OpenSSL's suites.

The stock server speaks TLS 1.2 only, and no AES-GCM with an RSA certificate. Nothing else differs.
The arguments are those of pykmip-server.
"""

import ssl

from kmip.services import auth
from kmip.services.server.server import main

_SUITE = auth.TLS12AuthenticationSuite
_SUITE._default_cipher_suites = [
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
]
_stock_init = _SUITE.__init__


def _init(self, *args, **kwargs):
    _stock_init(self, *args, **kwargs)
    self._protocol = ssl.PROTOCOL_TLS_SERVER


_SUITE.__init__ = _init

if __name__ == "__main__":
    main()
