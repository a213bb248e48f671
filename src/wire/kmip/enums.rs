//! KMIP's enumerations as plain numbers: an unknown value from a peer is a number like any other and
//! never fails a message.

#![allow(clippy::doc_markdown)] // the standard's own names

macro_rules! numbers {
    ($($(#[$doc:meta])* $module:ident: $kind:ty { $($konst:ident = $value:literal,)* })*) => {
        $($(#[$doc])* pub mod $module {
            $(#[doc = concat!("Value ", stringify!($value), ".")] pub const $konst: $kind = $value;)*

            /// The constant's name, for messages to people.
            pub fn name(value: $kind) -> Option<&'static str> {
                match value {
                    $($value => Some(stringify!($konst)),)*
                    _ => None,
                }
            }
        })*
    };
}

numbers! {
    /// Operation.
    operation: u32 {
        CREATE = 0x1,
        CREATE_KEY_PAIR = 0x2,
        REGISTER = 0x3,
        RE_KEY = 0x4,
        LOCATE = 0x8,
        CHECK = 0x9,
        GET = 0xA,
        GET_ATTRIBUTES = 0xB,
        GET_ATTRIBUTE_LIST = 0xC,
        ADD_ATTRIBUTE = 0xD,
        MODIFY_ATTRIBUTE = 0xE,
        DELETE_ATTRIBUTE = 0xF,
        ACTIVATE = 0x12,
        REVOKE = 0x13,
        DESTROY = 0x14,
        QUERY = 0x18,
        CANCEL = 0x19,
        POLL = 0x1A,
        RE_KEY_KEY_PAIR = 0x1D,
        DISCOVER_VERSIONS = 0x1E,
        ENCRYPT = 0x1F,
        DECRYPT = 0x20,
        SIGN = 0x21,
        SIGNATURE_VERIFY = 0x22,
        MAC = 0x23,
        MAC_VERIFY = 0x24,
        RNG_RETRIEVE = 0x25,
        RNG_SEED = 0x26,
        HASH = 0x27,
        IMPORT = 0x2A,
        EXPORT = 0x2B,
        LOG = 0x2C,
        LOGIN = 0x2D,
        LOGOUT = 0x2E,
        SET_ATTRIBUTE = 0x31,
        INTEROP = 0x34,
        PROCESS = 0x3A,
        PING = 0x3B,
    }
    /// ResultStatus.
    result_status: u32 {
        SUCCESS = 0x0,
        OPERATION_FAILED = 0x1,
        OPERATION_PENDING = 0x2,
        OPERATION_UNDONE = 0x3,
    }
    /// ResultReason.
    result_reason: u32 {
        ITEM_NOT_FOUND = 0x1,
        RESPONSE_TOO_LARGE = 0x2,
        AUTHENTICATION_NOT_SUCCESSFUL = 0x3,
        INVALID_MESSAGE = 0x4,
        OPERATION_NOT_SUPPORTED = 0x5,
        MISSING_DATA = 0x6,
        INVALID_FIELD = 0x7,
        FEATURE_NOT_SUPPORTED = 0x8,
        OPERATION_CANCELED_BY_REQUESTER = 0x9,
        CRYPTOGRAPHIC_FAILURE = 0xA,
        ILLEGAL_OPERATION = 0xB,
        PERMISSION_DENIED = 0xC,
        OBJECT_ARCHIVED = 0xD,
        INDEX_OUT_OF_BOUNDS = 0xE,
        APPLICATION_NAMESPACE_NOT_SUPPORTED = 0xF,
        KEY_FORMAT_TYPE_NOT_SUPPORTED = 0x10,
        KEY_COMPRESSION_TYPE_NOT_SUPPORTED = 0x11,
        ENCODING_OPTION_ERROR = 0x12,
        KEY_VALUE_NOT_PRESENT = 0x13,
        ATTESTATION_REQUIRED = 0x14,
        ATTESTATION_FAILED = 0x15,
        SENSITIVE = 0x16,
        NOT_EXTRACTABLE = 0x17,
        OBJECT_ALREADY_EXISTS = 0x18,
        GENERAL_FAILURE = 0x100,
        INVALID_TICKET = 0x19,
        USAGE_LIMIT_EXCEEDED = 0x1A,
        NUMERIC_RANGE = 0x1B,
        INVALID_DATA_TYPE = 0x1C,
        BAD_CRYPTOGRAPHIC_PARAMETERS = 0x24,
        BAD_PASSWORD = 0x25,
        CODEC_ERROR = 0x26,
        INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK = 0x29,
        INTERNAL_SERVER_ERROR = 0x2A,
        INVALID_CORRELATION_VALUE = 0x2E,
        INVALID_OBJECT_TYPE = 0x30,
        MISSING_INITIALIZATION_VECTOR = 0x34,
        NON_UNIQUE_NAME_ATTRIBUTE = 0x35,
        OBJECT_DESTROYED = 0x36,
        OBJECT_NOT_FOUND = 0x37,
        NOT_AUTHORISED = 0x39,
        SERVER_LIMIT_EXCEEDED = 0x3A,
        UNKNOWN_ENUMERATION = 0x3B,
        UNKNOWN_TAG = 0x3D,
        UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS = 0x3E,
        UNSUPPORTED_PROTOCOL_VERSION = 0x3F,
        WRONG_KEY_LIFECYCLE_STATE = 0x43,
        PROTECTION_STORAGE_UNAVAILABLE = 0x44,
    }
    /// BatchErrorContinuationOption.
    batch_error_continuation_option: u32 {
        CONTINUE = 0x1,
        STOP = 0x2,
        UNDO = 0x3,
    }
    /// BlockCipherMode.
    block_cipher_mode: u32 {
        CBC = 0x1,
        ECB = 0x2,
        CTR = 0x6,
        CCM = 0x8,
        GCM = 0x9,
        XTS = 0xB,
        AES_KEY_WRAP_PADDING = 0xC,
        NIST_KEY_WRAP = 0xD,
        AEAD = 0x12,
    }
    /// PaddingMethod.
    padding_method: u32 {
        NONE = 0x1,
        OAEP = 0x2,
        PKCS5 = 0x3,
        PKCS1_V1_5 = 0x8,
        PSS = 0xA,
    }
    /// CryptographicAlgorithm.
    cryptographic_algorithm: u32 {
        DES = 0x1,
        TRIPLE_DES = 0x2,
        AES = 0x3,
        RSA = 0x4,
        HMAC_SHA256 = 0x9,
        CHACHA20 = 0x1C,
        CHACHA20_POLY1305 = 0x1E,
    }
    /// ObjectType.
    object_type: u32 {
        CERTIFICATE = 0x1,
        SYMMETRIC_KEY = 0x2,
        PUBLIC_KEY = 0x3,
        PRIVATE_KEY = 0x4,
        SPLIT_KEY = 0x5,
        TEMPLATE = 0x6,
        SECRET_DATA = 0x7,
        OPAQUE_OBJECT = 0x8,
    }
    /// CryptographicUsageMask.
    cryptographic_usage_mask: i32 {
        SIGN = 0x1,
        VERIFY = 0x2,
        ENCRYPT = 0x4,
        DECRYPT = 0x8,
        WRAP_KEY = 0x10,
        UNWRAP_KEY = 0x20,
        EXPORT = 0x40,
        MAC_GENERATE = 0x80,
        MAC_VERIFY = 0x100,
        DERIVE_KEY = 0x200,
    }
    /// State.
    state: u32 {
        PRE_ACTIVE = 0x1,
        ACTIVE = 0x2,
        DEACTIVATED = 0x3,
        COMPROMISED = 0x4,
        DESTROYED = 0x5,
        DESTROYED_COMPROMISED = 0x6,
    }
    /// NameType.
    name_type: u32 {
        UNINTERPRETED_TEXT_STRING = 0x1,
        URI = 0x2,
    }
    /// CredentialType.
    credential_type: u32 {
        USERNAME_AND_PASSWORD = 0x1,
        DEVICE = 0x2,
        ATTESTATION = 0x3,
        ONE_TIME_PASSWORD = 0x4,
        HASHED_PASSWORD = 0x5,
        TICKET = 0x6,
    }
    /// QueryFunction.
    query_function: u32 {
        OPERATIONS = 0x1,
        OBJECTS = 0x2,
        SERVER_INFORMATION = 0x3,
        APPLICATION_NAMESPACES = 0x4,
        EXTENSION_LIST = 0x5,
        EXTENSION_MAP = 0x6,
        ATTESTATION_TYPES = 0x7,
        RNGS = 0x8,
        VALIDATIONS = 0x9,
        PROFILES = 0xA,
        CAPABILITIES = 0xB,
        CLIENT_REGISTRATION_METHODS = 0xC,
        DEFAULTS_INFORMATION = 0xD,
        STORAGE_PROTECTION_MASKS = 0xE,
    }
    /// ValidityIndicator.
    validity_indicator: u32 {
        VALID = 0x1,
        INVALID = 0x2,
        UNKNOWN = 0x3,
    }
    /// RevocationReasonCode.
    revocation_reason_code: u32 {
        UNSPECIFIED = 0x1,
        KEY_COMPROMISE = 0x2,
        CA_COMPROMISE = 0x3,
        AFFILIATION_CHANGED = 0x4,
        SUPERSEDED = 0x5,
        CESSATION_OF_OPERATION = 0x6,
        PRIVILEGE_WITHDRAWN = 0x7,
    }
}
