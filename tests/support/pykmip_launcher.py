"""Starts PyKMIP's server with TLS 1.3 and any of OpenSSL's suites.

The stock server speaks TLS 1.2 only, and no AES-GCM with an RSA certificate. Beside that, the
environment may ask for an older server: KMS_TEST_KMIP_MAX=1.2 makes it speak KMIP 1.2, 1.1 and 1.0.
Logins, which PyKMIP ignores, are printed. The arguments are those of pykmip-server.
"""

import os
import ssl

from kmip.core.messages import contents
from kmip.services import auth
from kmip.services.server import engine
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

_MAX = os.environ.get("KMS_TEST_KMIP_MAX")
_stock_engine = engine.KmipEngine.__init__


def _engine(self, *args, **kwargs):
    _stock_engine(self, *args, **kwargs)
    if _MAX:
        most = contents.ProtocolVersion(*map(int, _MAX.split(".")))
        self._protocol_versions = [v for v in self._protocol_versions if v <= most]
        self.default_protocol_version = self._protocol_version = most


engine.KmipEngine.__init__ = _engine

_stock_read = contents.Authentication.read


def _read(self, *args, **kwargs):
    _stock_read(self, *args, **kwargs)
    for credential in self.credentials:
        value = credential.credential_value
        # One write: the server has a thread for each connection, and print writes in pieces.
        os.write(1, f"login {value.username} {value.password}\n".encode())


contents.Authentication.read = _read

if __name__ == "__main__":
    main()
