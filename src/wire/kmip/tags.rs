//! KMIP's field numbers, as far as we name them; the text is the standard's own name, which is also the
//! 1.x Attribute Name.

#![allow(clippy::unreadable_literal)] // written as in the standard's tables

use crate::wire::ttlv::Tag;

macro_rules! tags {
    ($($konst:ident = $number:literal, $name:literal;)*) => {
        $(#[doc = $name] pub const $konst: Tag = Tag($number);)*

        impl Tag {
            /// The standard's name of the field, if it is one of those named here.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

tags! {
    REQUEST_MESSAGE = 0x420078, "Request Message";
    RESPONSE_MESSAGE = 0x42007B, "Response Message";
    REQUEST_HEADER = 0x420077, "Request Header";
    RESPONSE_HEADER = 0x42007A, "Response Header";
    REQUEST_PAYLOAD = 0x420079, "Request Payload";
    RESPONSE_PAYLOAD = 0x42007C, "Response Payload";
    BATCH_ITEM = 0x42000F, "Batch Item";
    BATCH_COUNT = 0x42000D, "Batch Count";
    BATCH_ERROR_CONTINUATION_OPTION = 0x42000E, "Batch Error Continuation Option";
    BATCH_ORDER_OPTION = 0x420010, "Batch Order Option";
    UNIQUE_BATCH_ITEM_ID = 0x420093, "Unique Batch Item ID";
    PROTOCOL_VERSION = 0x420069, "Protocol Version";
    PROTOCOL_VERSION_MAJOR = 0x42006A, "Protocol Version Major";
    PROTOCOL_VERSION_MINOR = 0x42006B, "Protocol Version Minor";
    MAXIMUM_RESPONSE_SIZE = 0x420050, "Maximum Response Size";
    ASYNCHRONOUS_INDICATOR = 0x420007, "Asynchronous Indicator";
    ASYNCHRONOUS_CORRELATION_VALUE = 0x420006, "Asynchronous Correlation Value";
    AUTHENTICATION = 0x42000C, "Authentication";
    CREDENTIAL = 0x420023, "Credential";
    CREDENTIAL_TYPE = 0x420024, "Credential Type";
    CREDENTIAL_VALUE = 0x420025, "Credential Value";
    USERNAME = 0x420099, "Username";
    PASSWORD = 0x4200A1, "Password";
    TIME_STAMP = 0x420092, "Time Stamp";
    NONCE = 0x4200C8, "Nonce";
    ATTESTATION_CAPABLE_INDICATOR = 0x4200D3, "Attestation Capable Indicator";
    CLIENT_CORRELATION_VALUE = 0x420105, "Client Correlation Value";
    SERVER_CORRELATION_VALUE = 0x420106, "Server Correlation Value";
    OPERATION = 0x42005C, "Operation";
    RESULT_STATUS = 0x42007F, "Result Status";
    RESULT_REASON = 0x42007E, "Result Reason";
    RESULT_MESSAGE = 0x42007D, "Result Message";
    MESSAGE_EXTENSION = 0x420051, "Message Extension";
    VENDOR_IDENTIFICATION = 0x42009D, "Vendor Identification";
    CRITICALITY_INDICATOR = 0x420026, "Criticality Indicator";
    VENDOR_EXTENSION = 0x42009C, "Vendor Extension";
    UNIQUE_IDENTIFIER = 0x420094, "Unique Identifier";
    OBJECT_TYPE = 0x420057, "Object Type";
    TEMPLATE_ATTRIBUTE = 0x420091, "Template-Attribute";
    ATTRIBUTE = 0x420008, "Attribute";
    ATTRIBUTE_NAME = 0x42000A, "Attribute Name";
    ATTRIBUTE_INDEX = 0x420009, "Attribute Index";
    ATTRIBUTE_VALUE = 0x42000B, "Attribute Value";
    ATTRIBUTES = 0x420125, "Attributes";
    ATTRIBUTE_REFERENCE = 0x42013B, "Attribute Reference";
    NAME = 0x420053, "Name";
    NAME_VALUE = 0x420055, "Name Value";
    NAME_TYPE = 0x420054, "Name Type";
    CRYPTOGRAPHIC_ALGORITHM = 0x420028, "Cryptographic Algorithm";
    CRYPTOGRAPHIC_LENGTH = 0x42002A, "Cryptographic Length";
    CRYPTOGRAPHIC_USAGE_MASK = 0x42002C, "Cryptographic Usage Mask";
    CRYPTOGRAPHIC_PARAMETERS = 0x42002B, "Cryptographic Parameters";
    BLOCK_CIPHER_MODE = 0x420011, "Block Cipher Mode";
    PADDING_METHOD = 0x42005F, "Padding Method";
    HASHING_ALGORITHM = 0x420038, "Hashing Algorithm";
    KEY_ROLE_TYPE = 0x420083, "Key Role Type";
    DIGITAL_SIGNATURE_ALGORITHM = 0x4200AE, "Digital Signature Algorithm";
    RANDOM_IV = 0x4200C5, "Random IV";
    IV_LENGTH = 0x4200CD, "IV Length";
    TAG_LENGTH = 0x4200CE, "Tag Length";
    FIXED_FIELD_LENGTH = 0x4200CF, "Fixed Field Length";
    INVOCATION_FIELD_LENGTH = 0x4200D2, "Invocation Field Length";
    COUNTER_LENGTH = 0x4200D0, "Counter Length";
    INITIAL_COUNTER_VALUE = 0x4200D1, "Initial Counter Value";
    IV_COUNTER_NONCE = 0x42003D, "IV/Counter/Nonce";
    DATA = 0x4200C2, "Data";
    DATA_LENGTH = 0x4200C4, "Data Length";
    MAC_DATA = 0x4200C6, "MAC Data";
    VALIDITY_INDICATOR = 0x42009B, "Validity Indicator";
    CORRELATION_VALUE = 0x4200D6, "Correlation Value";
    INIT_INDICATOR = 0x4200D7, "Init Indicator";
    FINAL_INDICATOR = 0x4200D8, "Final Indicator";
    AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA = 0x4200FE, "Authenticated Encryption Additional Data";
    AUTHENTICATED_ENCRYPTION_TAG = 0x4200FF, "Authenticated Encryption Tag";
    STATE = 0x42008D, "State";
    ACTIVATION_DATE = 0x420001, "Activation Date";
    INITIAL_DATE = 0x420039, "Initial Date";
    OFFSET = 0x420058, "Offset";
    MAXIMUM_ITEMS = 0x42004F, "Maximum Items";
    OFFSET_ITEMS = 0x4200D4, "Offset Items";
    LOCATED_ITEMS = 0x4200D5, "Located Items";
    STORAGE_STATUS_MASK = 0x42008E, "Storage Status Mask";
    OBJECT_GROUP = 0x420056, "Object Group";
    OBJECT_GROUP_MEMBER = 0x4200AC, "Object Group Member";
    QUERY_FUNCTION = 0x420074, "Query Function";
    SERVER_INFORMATION = 0x420088, "Server Information";
    APPLICATION_NAMESPACE = 0x420003, "Application Namespace";
    APPLICATION_DATA = 0x420002, "Application Data";
    APPLICATION_SPECIFIC_INFORMATION = 0x420004, "Application Specific Information";
    CURRENT_ATTRIBUTE = 0x42013C, "Current Attribute";
    NEW_ATTRIBUTE = 0x42013D, "New Attribute";
    EXTENSION_INFORMATION = 0x4200A4, "Extension Information";
    SENSITIVE = 0x420120, "Sensitive";
    EXTRACTABLE = 0x420122, "Extractable";
    NEVER_EXTRACTABLE = 0x420123, "Never Extractable";
    ALWAYS_SENSITIVE = 0x420121, "Always Sensitive";
    LINK = 0x42004A, "Link";
    LINK_TYPE = 0x42004B, "Link Type";
    LINKED_OBJECT_IDENTIFIER = 0x42004C, "Linked Object Identifier";
    KEY_BLOCK = 0x420040, "Key Block";
    KEY_FORMAT_TYPE = 0x420042, "Key Format Type";
    KEY_VALUE = 0x420045, "Key Value";
    KEY_MATERIAL = 0x420043, "Key Material";
    SYMMETRIC_KEY = 0x42008F, "Symmetric Key";
    REVOCATION_REASON = 0x420081, "Revocation Reason";
    REVOCATION_REASON_CODE = 0x420082, "Revocation Reason Code";
    CAPABILITY_INFORMATION = 0x4200F7, "Capability Information";
    BATCH_UNDO_CAPABILITY = 0x4200F9, "Batch Undo Capability";
    BATCH_CONTINUE_CAPABILITY = 0x4200FA, "Batch Continue Capability";
    OPERATION_POLICY_NAME = 0x42005D, "Operation Policy Name";
    FRESH = 0x4200A8, "Fresh";
    RNG_PARAMETERS = 0x4200D9, "RNG Parameters";
    REPLACED_UNIQUE_IDENTIFIER = 0x420076, "Replaced Unique Identifier";
    PROTECTION_STORAGE_MASK = 0x42015E, "Protection Storage Mask";
    PROTECTION_STORAGE_MASKS = 0x42015F, "Protection Storage Masks";
    PROTECTION_LEVEL = 0x420145, "Protection Level";
    PROTECTION_PERIOD = 0x420146, "Protection Period";
    QUANTUM_SAFE = 0x420147, "Quantum Safe";
    EPHEMERAL = 0x420154, "Ephemeral";
}
