"""PyKMIP's own client library against the simulated HSM: a key's life, and AES-GCM with associated data.

Arguments: port, folder of the certificates, KMIP version. Prints `done`; fails with a traceback.
"""
import sys

from kmip.core import enums
from kmip.core.attributes import CryptographicParameters, Name
from kmip.core.factories.attributes import AttributeFactory
from kmip.core.messages import payloads
from kmip.core.messages.contents import Operation, UniqueBatchItemID
from kmip.core.messages.messages import RequestBatchItem
from kmip.pie.client import ProxyKmipClient
from kmip.pie.exceptions import KmipOperationFailure

port, site, version = sys.argv[1:]
version = enums.KMIPVersion["KMIP_" + version.replace(".", "_")]
name = "made with " + version.name
GCM = CryptographicParameters(
    block_cipher_mode=enums.BlockCipherMode.GCM,
    cryptographic_algorithm=enums.CryptographicAlgorithm.AES,
    tag_length=16,
)


def refused(call, *args):
    try:
        call(*args)
    except KmipOperationFailure as error:
        return error.reason
    raise AssertionError("was not refused")


def send(client, operation, payload):
    """One item through PyKMIP's encoder and decoder; its client methods have no associated data."""
    item = RequestBatchItem(
        operation=Operation(operation),
        unique_batch_item_id=UniqueBatchItemID(b"\x01"),
        request_payload=payload,
    )
    proxy = client.proxy
    response = proxy._send_and_receive_message(proxy._build_request_message(None, [item]))
    item = response.batch_items[0]
    assert item.unique_batch_item_id.value == b"\x01"
    return item


client = ProxyKmipClient(
    "127.0.0.1",
    int(port),
    site + "/kmsClient.crt",
    site + "/kmsClient.key",
    site + "/ca.crt",
    kmip_version=version,
)
with client:
    answer = client.proxy.query(
        query_functions=[
            enums.QueryFunction.QUERY_OPERATIONS,
            enums.QueryFunction.QUERY_SERVER_INFORMATION,
        ]
    )
    operations = [operation for operation in answer.operations]
    assert enums.Operation.ENCRYPT in operations, operations
    assert "simulator" in str(answer.vendor_identification), answer.vendor_identification

    mask = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
    aes = enums.CryptographicAlgorithm.AES
    uid = client.create(aes, 256, name=name, cryptographic_usage_mask=mask)
    refused(lambda: client.create(aes, 256, name=name, cryptographic_usage_mask=mask))
    client.activate(uid)
    wanted = AttributeFactory().create_attribute(
        enums.AttributeType.NAME,
        Name.create(name, enums.NameType.UNINTERPRETED_TEXT_STRING),
    )
    assert client.locate(attributes=[wanted]) == [uid]
    got_uid, got = client.get_attributes(uid, ["State", "Name", "Cryptographic Length"])
    assert got_uid == uid and len(got) == 3, got

    iv, aad, plain = b"n" * 12, b"bound", b"a data key of 32 bytes, or nearly"
    sealed = send(
        client,
        enums.Operation.ENCRYPT,
        payloads.EncryptRequestPayload(uid, GCM, plain, iv, aad),
    ).response_payload
    assert len(sealed.auth_tag) == 16 and sealed.data != plain

    def opened(tag):
        payload = payloads.DecryptRequestPayload(uid, GCM, sealed.data, iv, aad, tag)
        return send(client, enums.Operation.DECRYPT, payload)

    assert opened(sealed.auth_tag).response_payload.data == plain
    wrong = opened(b"x" * 16)
    assert wrong.result_status.value == enums.ResultStatus.OPERATION_FAILED
    assert wrong.result_reason.value == enums.ResultReason.CRYPTOGRAPHIC_FAILURE

    refused(client.destroy, uid)
    client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
    client.destroy(uid)
    assert client.locate(attributes=[wanted]) == []
print("done")
